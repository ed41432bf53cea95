-- Records attempts and what follows. KEYS: lanes, rest, ls, announce, st:pending, st:delivered, st:failed, st:skipped,
-- st:canceled. Answers for each 1, or 0 when its lease was lost.
local lifetime_s, count = tonumber(arg()), tonumber(arg())
local finished, rows, touched, statuses, answers = {}, {}, {}, {}, {}
for i = 1, count do
  local one = {}
  one.event, one.class, one.mail, one.endpoint, one.token = arg(), arg(), arg(), arg(), arg()
  one.attempt, one.status, one.reason, one.after = arg(), arg(), arg(), tonumber(arg())
  one.lane_at, one.lane = tonumber(arg()), arg()
  one.key = one.event .. '|' .. one.endpoint
  rows[one.key] = rows[one.key] or row_of(one.event, one.endpoint)
  check_rows(one.event)
  check_delivery(one.class, one.mail, one.endpoint)
  finished[i] = one
end
check_sets('lanes', 'st:pending', 'st:delivered', 'st:failed', 'st:skipped', 'st:canceled')
redis.call('HLEN', KEYS[2])
redis.call('HLEN', KEYS[3])
redis.call('XLEN', KEYS[4])
local stamp, announced = now, false

local function remember(one)
  if one.lane == '' then return end
  local known = redis.call('HGET', prefix .. 'ls', one.endpoint)
  if known and tonumber(string.match(known, '^%-?%d+')) > one.lane_at then return end
  redis.call('HSET', prefix .. 'ls', one.endpoint, text(one.lane_at) .. '|' .. one.lane)
end

local function record(one)
  local row, member = rows[one.key], one.mail .. ':' .. one.event
  if not row or row.s ~= 'pending' or row.t ~= one.token then return 0 end
  row.t = nil
  if one.attempt ~= '' then
    row.at = row.at or {}
    table.insert(row.at, one.attempt)
  end
  if one.status == 'pending' then
    redis.call('ZADD', lane(one.class, one.endpoint), text(now + one.after), member)
    announced = true
  else
    row.s, row.ea = one.status, text(stamp)
    if one.reason ~= '' then row.r = one.reason end
    local index = entry(one.class, one.mail, one.event, one.endpoint)
    redis.call('ZREM', lane(one.class, one.endpoint), member)
    redis.call('ZREM', prefix .. 'st:pending', index)
    redis.call('ZADD', prefix .. 'st:' .. one.status, text(stamp), index)
    statuses[one.status] = true
    stamp = stamp + 1
  end
  keep_row(one.event, one.endpoint, row, lifetime_s)
  if (one.attempt ~= '' or one.status ~= 'pending') and advance(one) then announced = true end
  remember(one)
  touched[one.endpoint] = true
  return 1
end

for i, one in ipairs(finished) do answers[i] = record(one) end
for endpoint in pairs(touched) do refresh(endpoint) end
for status in pairs(statuses) do trim(status, lifetime_s) end
-- Whoever owns these lanes by now may have to wake earlier than it thought.
if announced then redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100, '*', 'n', '1') end
return answers
