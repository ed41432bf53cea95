-- Commits units. KEYS: gen, feed, lanes, rest, st:pending, st:skipped, then the event of each unit.
-- Answers for each unit 0 (condition did not hold), 1 (new), 2 (repeated) or 3 (stale).
local lifetime_s, count = tonumber(arg()), tonumber(arg())
local units = {}
for i = 1, count do
  local unit = {key = KEYS[6 + i], rows = {}}
  unit.id, unit.kind, unit.mail, unit.json, unit.generation = arg(), arg(), arg(), arg(), arg()
  unit.entity, unit.value, unit.at, unit.first = arg(), arg(), tonumber(arg()), arg() == '1'
  for j = 1, tonumber(arg()) do
    unit.rows[j] = {}
    unit.rows[j].endpoint, unit.rows[j].class, unit.rows[j].skipped = arg(), arg(), arg() == '1'
    check_delivery(unit.rows[j].class, unit.mail, unit.rows[j].endpoint)
  end
  check_rows(unit.id)
  if unit.entity ~= '' then redis.call('HLEN', prefix .. 's:' .. unit.entity) end
  units[i] = unit
end
check_sets('lanes', 'st:pending', 'st:skipped')
redis.call('HLEN', KEYS[4])
local generation = redis.call('GET', KEYS[1]) or '0'
-- Each event has a stamp of its own, later than that of any before it, so that the feed tells the order of commits.
local stamp = now
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last then
  local ms, us = string.match(last[1], '^(%d+)%-(%d+)$')
  stamp = math.max(stamp, tonumber(ms) * 1000 + tonumber(us) + 1)
end
local touched, skipped = {}, false

local function changed(unit)
  if unit.entity == '' then return true end
  local key = prefix .. 's:' .. unit.entity
  local known = redis.call('HMGET', key, 'at', 'value')
  if known[1] and unit.at < tonumber(known[1]) then return false end
  redis.call('HSET', key, 'at', text(unit.at), 'value', unit.value)
  if not known[1] then return unit.first end
  return known[2] ~= unit.value
end

local function add(unit, row)
  local member = entry(row.class, unit.mail, unit.id, row.endpoint)
  if row.skipped then
    local ended = {s = 'skipped', b = 0, r = 'disabled', ea = text(stamp)}
    keep_row(unit.id, row.endpoint, ended, lifetime_s)
    redis.call('ZADD', KEYS[6], text(stamp), member)
    skipped = true
    return
  end
  -- One that is still pending since the same identity was new before: it is in its lane or its chain already.
  if redis.call('ZADD', KEYS[5], text(stamp), member) == 0 then return end
  if redis.call('RPUSH', chain(row.class, unit.mail, row.endpoint), unit.id) == 1 then
    redis.call('ZADD', lane(row.class, row.endpoint), text(now), unit.mail .. ':' .. unit.id)
    touched[row.endpoint] = true
  end
end

local function commit(unit)
  if unit.generation ~= generation then return 3 end
  if redis.call('EXISTS', unit.key) == 1 then return 2 end
  if not changed(unit) then return 0 end
  redis.call('SET', unit.key, unit.json, 'EX', lifetime_s)
  -- What became of the same identity when it was new before; what is pending of it begins anew where it is planned again.
  redis.call('DEL', prefix .. 'd:' .. unit.id)
  for _, row in ipairs(unit.rows) do redis.call('HDEL', prefix .. 'p:' .. unit.id, row.endpoint) end
  local oldest = text(math.max(0, math.floor(now / 1000) - lifetime_s * 1000))
  local id = text(math.floor(stamp / 1000)) .. '-' .. text(stamp % 1000)
  redis.call('XADD', KEYS[2], 'MINID', '~', oldest, id, 'id', unit.id, 'type', unit.kind)
  for _, row in ipairs(unit.rows) do add(unit, row) end
  stamp = stamp + 1
  return 1
end

local answers = {}
for i, unit in ipairs(units) do answers[i] = commit(unit) end
for endpoint in pairs(touched) do refresh(endpoint) end
if skipped then trim('skipped', lifetime_s) end
return answers
