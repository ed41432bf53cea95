-- Adds to what was counted at a source. KEYS: tally:<source>. ARGV: the lifetime in seconds, how many fields there may be,
-- when a request was last taken or 0, how many fields are counted, of each the field, what is counted where there is no
-- room for it, how often.
local lifetime, most, last = arg(), tonumber(arg()), arg()
if tonumber(last) > tonumber(call('HGET', KEYS[1], 'last') or '0') then call('HSET', KEYS[1], 'last', last) end
for _ = 1, tonumber(arg()) do
  local field, other, count = arg(), arg(), arg()
  if call('HLEN', KEYS[1]) >= most and call('HEXISTS', KEYS[1], field) == 0 then field = other end
  call('HINCRBY', KEYS[1], field, count)
end
call('EXPIRE', KEYS[1], lifetime)
return 1
