-- How many deliveries to an endpoint are pending. KEYS: lanes. ARGV: the endpoint.
local endpoint, count = arg(), 0
for _, class in ipairs({'h', 'n', 'l'}) do
  local lane = lane_of(class, endpoint)
  count = count + call('LLEN', lane.fresh) + call('ZCARD', lane.due)
  -- Few are under way at a time, and behind each may be others of its mail.
  local busy = call('HGETALL', lane.busy)
  for i = 1, math.min(#busy, 2 * MANY), 2 do
    if string.sub(busy[i + 1], -1) == '+' then count = count + call('LLEN', chain(lane, busy[i])) end
  end
end
return count
