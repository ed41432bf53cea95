-- Adding what is new to lanes: each lane that is asked for is known from then on.
local lanes = {}
local function known_lane(class, endpoint)
  local lane = lanes[class .. endpoint]
  if not lane then
    lane = lane_of(class, endpoint)
    lane.len, lane.entries = call('LLEN', lane.fresh), {}
    if lane.len == 0 then lane.is_busy = call('HLEN', lane.busy) > 0 end
    lanes[class .. endpoint] = lane
  end
  return lane
end
-- The head of a lane is always one that may go; nothing before it can change that but a head that is new.
local function enqueue(lane)
  local count = #lane.entries
  if count == 0 then return end
  each('RPUSH', lane.fresh, lane.entries)
  if lane.len > 0 then return end
  local head = 1
  while lane.is_busy and head <= count do
    local mail = string.sub(lane.entries[head], 17, 32)
    local holder = call('HGET', lane.busy, mail)
    if not holder then break end
    call('RPUSH', chain(lane, mail), call('LPOP', lane.fresh))
    call('HSET', lane.busy, mail, waited_for(holder))
    head = head + 1
  end
  if head > count then return end
  local index = prefix .. 'lanes'
  if call('ZSCORE', index, ' ' .. lane.endpoint) then
    refresh(lane.class, lane.endpoint)
  else
    call('ZADD', index, 'LT', string.sub(lane.entries[head], 1, 16), lane.class .. lane.endpoint)
  end
end
