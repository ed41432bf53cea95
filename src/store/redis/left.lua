-- Removes parts of bodies that no request refers to. KEYS: they. ARGV: those that live for at most so many milliseconds more
-- were written long enough ago; for how many one lives that was written just now. As soon as something refers to one it lives
-- longer, and longer than what refers to it.
local longest_ms, alone_ms = tonumber(arg()), tonumber(arg())
for _, part in ipairs(KEYS) do
  local left_ms = call('PTTL', part)
  local request = string.match(part, '^(.*):%x+:%d+$')
  local is_old = left_ms <= longest_ms
  if left_ms > alone_ms then
    -- It has expired, or was erased.
    local first = request and call('GETRANGE', request, '0', '0')
    is_old = first == '' or first == '!'
  end
  if left_ms >= 0 and is_old then call('UNLINK', part) end
end
return 0
