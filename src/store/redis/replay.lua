-- Makes deliveries anew. KEYS: lanes, st:replays, announce. ARGV: how often one event can be replayed; how many, of each
-- the event, its mail, endpoint, replay. Answers for each 1 (made), 2 (known), 3 (gone), 4 (full) or 5 (canceled).
local most = tonumber(arg())
local asked, answers = {}, {}
for i = 1, tonumber(arg()) do
  local one = {event = arg(), mail = arg(), endpoint = arg(), replay = arg()}
  one.lane = known_lane('l', one.endpoint)
  call('ZCARD', prefix .. 'rp:' .. one.replay)
  asked[i] = one
end
call('ZCARD', KEYS[1])
-- Each has a stamp of its own, later than that of any that is pending.
local last = call('ZREVRANGE', KEYS[2], '0', '0', 'WITHSCORES')[2]
local stamp = math.max(now, last and tonumber(last) + 1 or 0)

local function make(one)
  if call('EXISTS', prefix .. 'x:' .. one.replay) == 1 then return 5 end
  local left = call('PTTL', prefix .. 'e:' .. one.event)
  -- Of one that was erased nothing but its stamp is kept.
  if left < 1 or call('STRLEN', prefix .. 'e:' .. one.event) <= 16 then return 3 end
  local known, field = prefix .. 'a:' .. one.event, one.replay .. '|' .. one.endpoint
  if call('HEXISTS', known, field) == 1 then return 2 end
  if call('HLEN', known) >= most then return 4 end
  local made, name = text(stamp), one.event .. '~' .. one.replay
  local member = name .. '|' .. one.endpoint
  stamp = stamp + 1
  call('HSET', known, field, made)
  call('PEXPIRE', known, text(left))
  call('ZADD', KEYS[2], made, member)
  call('ZADD', prefix .. 'rp:' .. one.replay, made, one.mail .. member)
  table.insert(one.lane.entries, made .. one.mail .. name)
  return 1
end

for i, one in ipairs(asked) do answers[i] = make(one) end
for _, lane in pairs(lanes) do enqueue(lane) end
call('XADD', KEYS[3], 'MAXLEN', '~', '100', '*', 'n', '1')
return answers
