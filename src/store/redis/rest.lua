-- Puts lanes to rest, or ends their rest. KEYS: lanes. ARGV: how many, of each the endpoint, and for how long or nothing.
for _ = 1, tonumber(arg()) do
  local endpoint, rest = arg(), arg()
  if rest ~= '' then
    call('ZADD', KEYS[1], text(-now - tonumber(rest)), ' ' .. endpoint)
  else
    call('ZREM', KEYS[1], ' ' .. endpoint)
  end
  refresh('h', endpoint)
  refresh('n', endpoint)
  refresh('l', endpoint)
end
return 1
