-- Commits units. KEYS: gen, feed, lanes, st:pending, st:skipped, announce, stamp, states, sups. ARGV: the lifetime in seconds;
-- how many plans, of each how many deliveries, of each endpoint, class, 1 if it is skipped; how many units, of each id,
-- kind (or nothing if it is not to be in the feed), mail, JSON, generation, plan, when it was received if it was read again
-- or nothing, after that the request, its fingerprint or nothing, after a fingerprint 1 if its copies are kept, and the
-- entity whose state it tells or nothing; after an entity the rank of the state; how many words a search finds it by, and
-- their hashes; how many units suppress addresses, of each its place, the reason, when it happened, how many addresses, and
-- their hashes; the id of the key of all hashes. Answers for each unit 0 (its state is no news), 1 (new), 2 (repeated), 3
-- (stale), 4 (the hashes here are made with another key) or 5 (it would have expired, or its request was erased).
local lifetime = arg()
local lifetime_s = tonumber(lifetime)
local plans, units, skips, unfed, tells = {}, {}, false, false, false
for i = 1, tonumber(arg()) do
  plans[i] = {}
  for j = 1, tonumber(arg()) do
    local endpoint, class, skipped = arg(), arg(), arg() == '1'
    plans[i][j] = {endpoint = endpoint, lane = not skipped and known_lane(class, endpoint)}
    skips, plans[i].skips = skips or skipped, plans[i].skips or skipped
  end
end
for i = 1, tonumber(arg()) do
  local unit = {id = arg(), kind = arg(), mail = arg(), json = arg(), generation = arg(), plan = plans[tonumber(arg())]}
  unfed = unfed or unit.kind == ''
  unit.life, unit.again = lifetime_s, arg()
  if unit.again ~= '' then
    unit.is_erased = call('EXISTS', prefix .. 'z:' .. arg()) == 1
    unit.life = math.min(lifetime_s, math.ceil((tonumber(unit.again) - now) / 1000000) + lifetime_s)
  end
  unit.before = reprocessed > 0 and call('GET', prefix .. 'o:' .. unit.id)
  unit.fingerprint = arg()
  if unit.fingerprint ~= '' then unit.is_kept = arg() == '1' end
  unit.entity = arg()
  if unit.entity ~= '' then
    unit.rank, tells = tonumber(arg()), true
  end
  unit.words = {}
  for j = 1, tonumber(arg()) do unit.words[j] = arg() end
  units[i] = unit
end
-- Of each reason, when those happened that are on the suppression list.
local listed = {}
local suppressing = tonumber(arg())
for _ = 1, suppressing do
  local unit = units[tonumber(arg())]
  unit.reason, unit.happened, unit.suppressed = arg(), arg(), {}
  local known = listed[unit.reason] or {}
  listed[unit.reason] = known
  for i = 1, tonumber(arg()) do
    local hash = arg()
    local row = call('HGET', prefix .. 'sup:' .. hash, unit.reason)
    unit.suppressed[i], known[hash] = hash, row and tonumber(string.match(row, '^%-?%d+'))
  end
end
local is_key = string.match(call('GET', prefix .. 'address_key') or '', '^[^:]*') == arg()
call('ZCARD', KEYS[3])
if skips then call('ZCARD', KEYS[5]) end
if unfed then call('XLEN', KEYS[6]) end
if tells then call('ZCARD', KEYS[8]) end
if suppressing > 0 then call('ZCARD', KEYS[9]) end
local generation = call('GET', KEYS[1]) or '0'
-- Each delivery has a stamp of its own, later than that of any before it, and each event the last of its deliveries', so
-- that the feed tells the order of commits. What was not put there has left the last stamp under a key of its own.
local stamp = math.max(now, tonumber(call('GET', KEYS[7]) or '0') + 1)
local last = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
if last then
  local ms, us = string.match(last[1], '^(%d+)%-(%d+)$')
  stamp = math.max(stamp, tonumber(ms) * 1000 + tonumber(us) + 1)
end
local expired = now - lifetime_s * 1000000
-- When the oldest pending delivery was made, if its event may have expired: stamps run a little ahead of the clock.
local oldest = call('ZRANGE', KEYS[4], '0', '0')[1]
if oldest and tonumber(oldest) <= expired + 1000000 then
  oldest = call('ZRANGE', prefix .. 'i:' .. oldest, '0', '0', 'WITHSCORES')[2]
end
local outlived = oldest and tonumber(oldest) <= expired + 1000000
local indexed, skipped, gone, trimmed = {}, {}, {}, false

-- Whether its state holds and, as far as was known, did not. The one of the highest rank stays; odd ones hold.
local function is_news(unit)
  local known = tonumber(call('ZSCORE', KEYS[8], unit.entity) or '')
  if known and unit.rank <= known then return false end
  call('ZADD', KEYS[8], text(unit.rank), unit.entity)
  return unit.rank % 2 == 1 and not (known and known % 2 == 1)
end

-- Whether a delivery is in the pages of pending ones that begin in this span.
local function is_indexed(member, from, to)
  for _, page in ipairs(call('ZRANGEBYSCORE', KEYS[4], from, to, 'LIMIT', '0', text(PAGE_LEN))) do
    if call('ZSCORE', prefix .. 'i:' .. page, member) then return true end
  end
  return false
end

-- Whether a delivery is pending since the same identity was new before: it is in its lane or its chain already, and begins
-- anew there.
local function is_pending(lane, unit, member)
  if not (outlived or unit.before) then return false end
  local row = call('HGET', lane.rows, unit.id)
  if row then
    local made, _, _, due = row_read(row)
    if made then call('HSET', lane.rows, unit.id, row_of(made, '0', '', due, '', '')) end
    return true
  end
  if outlived and is_indexed(member, '-inf', text(expired + 1000000)) then return true end
  if not unit.before then return false end
  local first, last = string.sub(unit.before, 1, 16), string.sub(unit.before, 17)
  local page = call('ZREVRANGEBYSCORE', KEYS[4], first, '-inf', 'LIMIT', '0', '1')[1]
  return is_indexed(member, page or first, last)
end

local function add(unit, row, made)
  local member = unit.id .. '|' .. row.endpoint
  if not row.lane then
    keep(unit.id, row.endpoint, {'skipped', 'disabled', '0', '', made, ''}, made, lifetime_s)
    table.insert(skipped, made)
    table.insert(skipped, member)
  elseif not is_pending(row.lane, unit, member) then
    table.insert(indexed, made)
    table.insert(indexed, member)
    table.insert(row.lane.entries, made .. unit.mail .. unit.id)
  end
end

-- The event that had this one's fingerprint first, if there is one. From then on there is.
local function twin(unit)
  if unit.fingerprint == '' then return end
  local key = prefix .. 'k:' .. unit.fingerprint
  if call('SET', key, unit.id, 'NX', 'EX', text(unit.life)) then return end
  local first = redis.pcall('GET', key)
  return type(first) == 'string' and first ~= unit.id and first
end

-- Puts addresses on the suppression list. Of each reason the earliest stays; of one time the one that is there.
local function suppress(unit)
  local known, at = listed[unit.reason], tonumber(unit.happened)
  for _, hash in ipairs(unit.suppressed) do
    if not known[hash] or at < known[hash] then
      call('HSET', prefix .. 'sup:' .. hash, unit.reason, unit.happened .. '|' .. unit.id)
      call('ZADD', KEYS[9], '0', hash)
      known[hash] = at
    end
  end
end

local function commit(unit)
  if unit.generation ~= generation then return 3 end
  if unit.life < 1 or unit.is_erased then return 5 end
  if (unit.suppressed or #unit.words > 0) and not is_key then return 4 end
  local key = prefix .. 'e:' .. unit.id
  if unit.entity ~= '' then
    if call('EXISTS', key) == 1 then return 2 end
    if not is_news(unit) then return 0 end
  end
  local made = text(stamp)
  if not call('SET', key, made .. unit.json, 'NX', 'EX', text(unit.life)) then return 2 end
  local first = twin(unit)
  if first and not unit.is_kept then
    call('DEL', key)
    return 2
  end
  if first then
    local marked = '{"possible_duplicate_of":"' .. first .. '",' .. string.sub(unit.json, 2)
    call('SET', key, made .. marked, 'EX', text(unit.life))
  end
  if unit.suppressed then suppress(unit) end
  if unit.again ~= '' then
    reprocessed = stamp + #unit.plan
    call('SET', prefix .. 'reprocessed', text(reprocessed), 'EX', lifetime)
    call('SET', prefix .. 'o:' .. unit.id, made .. text(reprocessed - 1), 'EX', lifetime)
  end
  -- What became of the same identity when it was new before; where it begins with a row, that comes after it.
  local rows, notes = prefix .. 'd:' .. unit.id, prefix .. 'a:' .. unit.id
  if unit.plan.skips then
    call('DEL', rows, notes)
  else
    gone[#gone + 1], gone[#gone + 2] = rows, notes
  end
  for i, row in ipairs(unit.plan) do
    if i > 1 then
      stamp = stamp + 1
      made = text(stamp)
    end
    add(unit, row, made)
  end
  stamp = stamp + 1
  if unit.kind == '' then
    call('SET', KEYS[7], made, 'EX', lifetime)
    return 1
  end
  for _, word in ipairs(unit.words) do
    -- What somebody else put there does not undo the rest.
    redis.pcall('ZADD', prefix .. 'w:' .. string.sub(word, 1, 4), '0', string.sub(word, 5) .. made)
  end
  local id = string.sub(made, 1, -4) .. '-' .. text(string.sub(made, -3))
  if trimmed then
    call('XADD', KEYS[2], id, 'id', unit.id, 'type', unit.kind)
  else
    local first = text(math.max(0, math.floor(expired / 1000)))
    call('XADD', KEYS[2], 'MINID', '~', first, id, 'id', unit.id, 'type', unit.kind)
    trimmed = true
  end
  return 1
end

local answers = {}
for i, unit in ipairs(units) do answers[i] = commit(unit) end
if #gone > 0 then call('DEL', unpack(gone)) end
for _, lane in pairs(lanes) do enqueue(lane) end
-- The feed does not tell of it.
if unfed then call('XADD', KEYS[6], 'MAXLEN', '~', '100', '*', 'n', '1') end
if #indexed > 0 then index(indexed) end
if #skipped > 0 then
  each('ZADD', KEYS[5], skipped)
  trim('skipped', lifetime_s, skipped)
end
return answers
