-- Lanes, and the index of them.
-- The keys of a lane: what was never tried, what falls due at a time of its own, whose turn it is, chains.
local function lane_of(class, endpoint)
  local tail = class .. ':' .. endpoint
  return {
    class = class, endpoint = endpoint, fresh = prefix .. 'f:' .. tail, due = prefix .. 'q:' .. tail,
    busy = prefix .. 'b:' .. tail, rows = prefix .. 'p:' .. endpoint,
  }
end
local function chain(lane, mail)
  return prefix .. 'c:' .. lane.class .. ':' .. mail .. ':' .. lane.endpoint
end
-- Whose turn it is in a mail is told by the event, with a plus where others wait in its chain.
local function waited_for(holder)
  return string.sub(holder, -1) == '+' and holder or holder .. '+'
end
-- Puts a lane's earliest due time into the index of lanes, or the end of the lane's rest if that is later. The end of a
-- rest is kept there too, below zero, under the endpoint's name with a space before it.
local function show(class, endpoint, earliest, rest)
  local lanes = prefix .. 'lanes'
  if not earliest then
    call('ZREM', lanes, class .. endpoint)
    return
  end
  rest = rest and -tonumber(rest) or 0
  if rest ~= 0 and rest <= now then call('ZREM', lanes, ' ' .. endpoint) end
  call('ZADD', lanes, text(math.max(earliest, rest)), class .. endpoint)
end
-- The same for what its keys hold now.
local function refresh(class, endpoint)
  local tail = class .. ':' .. endpoint
  local head = call('LINDEX', prefix .. 'f:' .. tail, '0')
  local earliest = head and tonumber(string.sub(head, 1, 16))
  local due = tonumber(call('ZRANGE', prefix .. 'q:' .. tail, '0', '0', 'WITHSCORES')[2])
  if due and (not earliest or due < earliest) then earliest = due end
  show(class, endpoint, earliest, earliest and call('ZSCORE', prefix .. 'lanes', ' ' .. endpoint))
end
