-- Shared by all scripts. ARGV[1] is the prefix of the partition, `{wp:N}:`. Keys that depend on an endpoint, an event
-- or a mail (q:, c:, p:, d:, s:) are derived from it: they share its hash tag, so they are in the slot of KEYS[1].
-- Times are the server's, in microseconds; a double holds them exactly.
local prefix = ARGV[1]
local place = 1
local function arg()
  place = place + 1
  return ARGV[place]
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function text(number)
  return string.format('%.0f', number)
end
local function lane(class, endpoint)
  return prefix .. 'q:' .. class .. ':' .. endpoint
end
local function chain(class, mail, endpoint)
  return prefix .. 'c:' .. class .. ':' .. mail .. ':' .. endpoint
end
-- The member of a status index.
local function entry(class, mail, event, endpoint)
  return class .. mail .. ':' .. event .. '|' .. endpoint
end
-- A delivery's row as it is kept: with those under way, or with those ended. False when it has none.
local function text_of(event, endpoint)
  return redis.call('HGET', prefix .. 'p:' .. event, endpoint) or redis.call('HGET', prefix .. 'd:' .. event, endpoint)
end
local function row_of(event, endpoint)
  local row = text_of(event, endpoint)
  return row and cjson.decode(row)
end
-- Writes a row. One that is pending stays until it ends, like its place in its lane; those that have ended live as long
-- as their event, or a whole lifetime from now where that has gone.
local function keep_row(event, endpoint, row, lifetime_s)
  if row.s == 'pending' then
    redis.call('HSET', prefix .. 'p:' .. event, endpoint, cjson.encode(row))
    return
  end
  local key = prefix .. 'd:' .. event
  redis.call('HDEL', prefix .. 'p:' .. event, endpoint)
  redis.call('HSET', key, endpoint, cjson.encode(row))
  local left = redis.call('TTL', prefix .. 'e:' .. event)
  if left <= 0 then
    redis.call('EXPIRE', key, lifetime_s)
  elseif redis.call('TTL', key) < 0 then
    redis.call('EXPIRE', key, left)
  end
end
-- The next of a chain may go once its head has been tried or has ended. Answers whether there is one.
local function advance(one)
  local key = chain(one.class, one.mail, one.endpoint)
  if redis.call('LINDEX', key, 0) ~= one.event then return false end
  redis.call('LPOP', key)
  local follower = redis.call('LINDEX', key, 0)
  if not follower then return false end
  redis.call('ZADD', lane(one.class, one.endpoint), text(now), one.mail .. ':' .. follower)
  return true
end
-- Brings the index of lanes up to date: the earliest due time of a lane, or the end of its rest if that is later.
local function refresh(endpoint)
  local earliest
  for _, class in ipairs({'h', 'n'}) do
    local head = redis.call('ZRANGE', lane(class, endpoint), 0, 0, 'WITHSCORES')
    local due = head[2] and tonumber(head[2])
    if due and (not earliest or due < earliest) then earliest = due end
  end
  if not earliest then
    redis.call('ZREM', prefix .. 'lanes', endpoint)
    return
  end
  local rest = tonumber(redis.call('HGET', prefix .. 'rest', endpoint))
  if rest and rest <= now then
    redis.call('HDEL', prefix .. 'rest', endpoint)
    rest = nil
  end
  redis.call('ZADD', prefix .. 'lanes', text(math.max(earliest, rest or 0)), endpoint)
end
-- Removes some of what is past its lifetime from a status index; more than one call adds.
local function trim(status, lifetime_s)
  local key = prefix .. 'st:' .. status
  local old = redis.call('ZRANGEBYSCORE', key, '-inf', text(now - lifetime_s * 1000000), 'LIMIT', 0, 1000)
  if #old > 0 then redis.call('ZREM', key, unpack(old)) end
end
-- Fails, before anything is written, if a key is not of the type that the script will write.
local function check_sets(...)
  for _, name in ipairs({...}) do redis.call('ZCARD', prefix .. name) end
end
local function check_delivery(class, mail, endpoint)
  redis.call('ZCARD', lane(class, endpoint))
  redis.call('LLEN', chain(class, mail, endpoint))
end
local function check_rows(event)
  redis.call('HLEN', prefix .. 'p:' .. event)
  redis.call('HLEN', prefix .. 'd:' .. event)
end
