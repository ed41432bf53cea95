-- Removes some of what is past its lifetime from a status index. Of the calls that add a few, one in eight does it: it
-- removes more than eight of them add.
local function trim(status, lifetime_s, added)
  if #added < MANY / 8 and now % 8 ~= 0 then return end
  local key = prefix .. 'st:' .. status
  local old = call('ZRANGEBYSCORE', key, '-inf', text(now - lifetime_s * 1000000), 'LIMIT', '0', text(MANY))
  if #old > 0 then call('ZREM', key, unpack(old)) end
end
-- The stamp of the last delivery that may be later than its event's receipt.
local reprocessed = tonumber(call('GET', prefix .. 'reprocessed') or '0')
-- A row of what has ended: status, reason, how often it was begun and when last, when it ended, the attempts. It lives as
-- long as its event, or a whole lifetime from now where that has gone. Answers false if it cannot be written.
local function keep(name, endpoint, row, stamp, lifetime_s)
  local key, field = ended_at(name, endpoint)
  local kept = redis.pcall('HSET', key, field, table.concat(row, '|'))
  if type(kept) == 'table' and kept.err then return false end
  if field ~= endpoint or tonumber(stamp) <= reprocessed then
    -- Its stamp may be later than the receipt of its event, or is, for a replay.
    local left = call('TTL', prefix .. 'e:' .. string.match(name, '^[^~]*'))
    call('EXPIRE', key, text(left > 0 and left or lifetime_s))
    return true
  end
  local lived = math.floor((now - tonumber(stamp)) / 1000000)
  call('EXPIRE', key, lived < lifetime_s and text(lifetime_s - math.max(lived, 0)) or text(lifetime_s))
  return true
end
