-- Removes parts of bodies that no request refers to. KEYS: they. ARGV: for how many milliseconds those live that were written
-- just now; as soon as something refers to one it lives longer.
local longest_ms = tonumber(arg())
for _, part in ipairs(KEYS) do
  if call('PTTL', part) <= longest_ms then call('UNLINK', part) end
end
return 0
