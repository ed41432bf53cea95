-- Notes when API keys were used. KEYS: keys_used. ARGV: of each its name and the time in microseconds. The latest stays.
for _ = place + 1, #ARGV, 2 do
  local name, at = arg(), arg()
  if tonumber(at) > tonumber(call('HGET', KEYS[1], name) or '0') then call('HSET', KEYS[1], name, at) end
end
return 1
