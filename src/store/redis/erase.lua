-- Ends deliveries of an event, and with the last of them erases it. KEYS: e:<event>, a:<event>, st:pending, st:replays,
-- st:canceled, announce. ARGV: the lifetime in seconds, the mail, the reason, how many replays there are thought to be of
-- the event or -1 while there are more deliveries to end; how many, of each what it is called, its class, its endpoint, when
-- it was made. Answers 1, or 0 when it has been replayed again.
local lifetime_s, mail, reason, replays, count = tonumber(arg()), arg(), arg(), tonumber(arg()), tonumber(arg())
local kept = call('GET', KEYS[1])
for i = 3, 5 do call('ZCARD', KEYS[i]) end
if not kept then return 1 end
if call('HLEN', KEYS[2]) ~= replays and replays >= 0 then return 0 end
local changed, ended, unindexed, stamp = {}, {}, {}, now
for _ = 1, count do
  local name, class, endpoint, made = arg(), arg(), arg(), arg()
  local lane, member, at = lane_of(class, endpoint), name .. '|' .. endpoint, text(stamp)
  local key, field = ended_at(name, endpoint)
  local ended_row, row = call('HGET', key, field), call('HGET', lane.rows, name)
  if ended_row or row then log_forget(endpoint, ended_row or row) end
  if not ended_row then
    made = cancel(lane, mail, name, made, reason, at, lifetime_s)
    table.insert(ended, at)
    table.insert(ended, member)
    if class == 'l' then
      call('ZREM', KEYS[4], member)
      call('ZREM', prefix .. 'rp:' .. string.match(name, '~(.*)$'), mail .. member)
    else
      table.insert(unindexed, made)
      table.insert(unindexed, member)
    end
    changed[class .. endpoint], stamp = lane, stamp + 1
  end
end
for _, lane in pairs(changed) do refresh(lane.class, lane.endpoint) end
unindex(unindexed)
if #ended > 0 then
  each('ZADD', KEYS[5], ended)
  trim('canceled', lifetime_s, ended)
  call('XADD', KEYS[6], 'MAXLEN', '~', '100', '*', 'n', '1')
end
if replays >= 0 then call('SET', KEYS[1], string.sub(kept, 1, STAMP_LEN), 'KEEPTTL') end
return 1
