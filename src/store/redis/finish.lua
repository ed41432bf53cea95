-- Records attempts and what follows. KEYS: lanes, ls, announce. ARGV: the lifetime in seconds; how many bytes a log of
-- attempts may hold; how many, of each name, class, mail, endpoint, token, attempt or nothing, and after one its detail,
-- status, reason, delay until the next attempt, and what the lane remembers or nothing, and after that since when. Answers
-- for each 1, 0 when its lease was lost, or -1 when what is kept of it is unreadable.
local lifetime_s, log_bytes, count = tonumber(arg()), tonumber(arg()), tonumber(arg())
local finished, rows, lanes, ended, unindexed, replays, logs, answers = {}, {}, {}, {}, {}, {}, {}, {}
local function lane_named(class, endpoint)
  local lane = lanes[class .. endpoint]
  if not lane then
    lane = lane_of(class, endpoint)
    lane.all, lane.events, lane.mails, lane.gone, lane.moved, lane.set = {}, {}, {}, {}, {}, {}
    lane.shown = call('ZMSCORE', KEYS[1], class .. endpoint, ' ' .. endpoint)
    lane.earliest = math.huge
    call('ZCARD', lane.due)
    lanes[class .. endpoint] = lane
  end
  return lane
end
for i = 1, count do
  local one = {event = arg(), class = arg(), mail = arg(), endpoint = arg(), token = arg(), attempt = arg()}
  if one.attempt ~= '' then
    one.detail = arg()
    logs[one.endpoint] = logs[one.endpoint] or log_of(one.endpoint)
  end
  one.status, one.reason, one.after, one.memory = arg(), arg(), tonumber(arg()), arg()
  if one.memory ~= '' then
    one.since = tonumber(arg())
    call('HLEN', KEYS[2])
  end
  if one.status ~= 'pending' and not ended[one.status] then
    ended[one.status] = {}
    call('ZCARD', prefix .. 'st:' .. one.status)
  end
  if one.class == 'l' then
    one.replay = prefix .. 'rp:' .. string.match(one.event, '~(.*)$')
    call('ZCARD', one.replay)
  end
  one.lane, one.key = lane_named(one.class, one.endpoint), one.event .. '|' .. one.endpoint
  table.insert(one.lane.all, one)
  table.insert(one.lane.events, one.event)
  table.insert(one.lane.mails, one.mail)
  finished[i] = one
end
call('ZCARD', prefix .. 'st:pending')
for _, lane in pairs(lanes) do
  lane.turns, lane.changed = {}, {}
  for from = 1, #lane.all, MANY do
    local to = math.min(from + MANY - 1, #lane.all)
    local known = call('HMGET', lane.rows, unpack(lane.events, from, to))
    local turns = call('HMGET', lane.busy, unpack(lane.mails, from, to))
    for i = from, to do
      rows[lane.all[i].key] = known[i - from + 1] or ''
      lane.turns[lane.mails[i]] = turns[i - from + 1]
    end
  end
end
local stamp, announced = now, false

local function remember(one)
  if one.memory == '' then return end
  local known = call('HGET', KEYS[2], one.endpoint)
  if known and tonumber(string.match(known, '^%-?%d+')) > one.since then return end
  call('HSET', KEYS[2], one.endpoint, text(one.since) .. '|' .. one.memory)
end

-- The next of a mail may go once the one before it has been tried or has ended.
local function advance(one)
  local lane, mail = one.lane, one.mail
  local holder, follower = lane.turns[mail], nil
  if holder ~= one.event and holder ~= one.event .. '+' then return end
  lane.turns[mail], lane.changed[mail] = false, true
  if holder == one.event then return end
  local key = chain(lane, mail)
  follower = call('LPOP', key)
  if not follower then return end
  local event = string.sub(follower, 33)
  lane.turns[mail] = call('EXISTS', key) == 1 and waited_for(event) or event
  lane.earliest = math.min(lane.earliest, now)
  table.insert(lane.moved, text(now))
  table.insert(lane.moved, follower)
  announced = true
end

local function record(one)
  local row, lane = rows[one.key], one.lane
  if row == '' then return 0 end
  local made, begun, begun_at, _, token, attempts = row_read(row)
  if not made then return -1 end
  if token ~= one.token then return 0 end
  lane.earliest = math.min(lane.earliest, tonumber(token))
  if one.attempt ~= '' then
    local place = log_add(logs[one.endpoint], one.event, one.detail)
    local attempt = '{"log":"' .. place .. '",' .. string.sub(one.attempt, 2)
    attempts = attempts == '' and attempt or attempts .. ',' .. attempt
  end
  local entry = made .. one.mail .. one.event
  if one.status == 'pending' then
    local due = text(now + one.after)
    lane.earliest = math.min(lane.earliest, now + one.after)
    rows[one.key] = row_of(made, begun, begun_at, due, '', attempts)
    table.insert(lane.set, one.event)
    table.insert(lane.set, rows[one.key])
    table.insert(lane.moved, due)
    table.insert(lane.moved, entry)
    announced = true
  else
    local at, of = text(stamp), ended[one.status]
    local kept = {one.status, one.reason, begun, begun_at, at, attempts}
    if not keep(one.event, one.endpoint, kept, made, lifetime_s) then return -1 end
    rows[one.key] = ''
    table.insert(lane.gone, entry)
    if one.replay then
      table.insert(replays, one)
    else
      table.insert(unindexed, made)
      table.insert(unindexed, one.key)
    end
    table.insert(of, at)
    table.insert(of, one.key)
    stamp = stamp + 1
  end
  if one.attempt ~= '' or one.status ~= 'pending' then advance(one) end
  remember(one)
  return 1
end

local function write(lane)
  local removed, taken, given = {}, {}, {}
  for i, entry in ipairs(lane.gone) do removed[i] = string.sub(entry, 33) end
  for mail in pairs(lane.changed) do
    local holder = lane.turns[mail]
    if holder then table.insert(taken, mail) end
    table.insert(holder and taken or given, holder or mail)
  end
  each('ZADD', lane.due, lane.moved)
  each('ZREM', lane.due, lane.gone)
  each('HSET', lane.rows, lane.set)
  each('HDEL', lane.rows, removed)
  each('HSET', lane.busy, taken)
  each('HDEL', lane.busy, given)
end

for i, one in ipairs(finished) do answers[i] = record(one) end
for _, lane in pairs(lanes) do
  write(lane)
  -- What was moved and where to are both after what the index has: that is still the earliest.
  local shown, rest = tonumber(lane.shown[1]), lane.shown[2]
  if rest or not shown or shown >= lane.earliest then refresh(lane.class, lane.endpoint) end
end
for _, log in pairs(logs) do log_close(log, lifetime_s, log_bytes) end
unindex(unindexed)
for _, one in ipairs(replays) do
  call('ZREM', one.replay, one.mail .. one.key)
  call('ZREM', prefix .. 'st:replays', one.key)
end
for status, added in pairs(ended) do
  each('ZADD', prefix .. 'st:' .. status, added)
  if #added > 0 then trim(status, lifetime_s, added) end
end
-- Whoever owns these lanes by now may have to wake earlier than it thought.
if announced then call('XADD', KEYS[3], 'MAXLEN', '~', '100', '*', 'n', '1') end
return answers
