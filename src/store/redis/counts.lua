-- Adds to what was counted of an endpoint on a day. KEYS: cd:<day>:<endpoint>. ARGV: the lifetime in seconds; how many
-- times, of each field and the time, of which the latest stays; how many counts, of each field and how many.
local lifetime = arg()
for _ = 1, tonumber(arg()) do
  local field, at = arg(), arg()
  if tonumber(at) > tonumber(call('HGET', KEYS[1], field) or '0') then call('HSET', KEYS[1], field, at) end
end
for _ = 1, tonumber(arg()) do
  local field, count = arg(), arg()
  call('HINCRBY', KEYS[1], field, count)
end
call('EXPIRE', KEYS[1], lifetime)
return 1
