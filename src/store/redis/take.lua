-- Leases deliveries that are still due: moves each due time forward and makes it the token. KEYS: lanes, rest,
-- st:pending.
-- Answers for each nothing, or the token, the attempt's number and the event (empty when it has expired).
local lifetime_s, count = tonumber(arg()), tonumber(arg())
local takes, touched, answers = {}, {}, {}
for i = 1, count do
  local take = {}
  take.endpoint, take.class, take.mail, take.event, take.hold = arg(), arg(), arg(), arg(), tonumber(arg())
  -- A row that cannot be read must not block its lane: it begins anew.
  local known, row = pcall(row_of, take.event, take.endpoint)
  take.row = known and type(row) == 'table' and row or {s = 'pending', b = 0}
  check_rows(take.event)
  check_delivery(take.class, take.mail, take.endpoint)
  takes[i] = take
end
check_sets('lanes', 'st:pending')
redis.call('HLEN', KEYS[2])
for i, take in ipairs(takes) do
  local key, member, row = lane(take.class, take.endpoint), take.mail .. ':' .. take.event, take.row
  local due = tonumber(redis.call('ZSCORE', key, member))
  touched[take.endpoint] = true
  if due and row.s ~= 'pending' then
    -- Nothing is to be sent, and nothing is to wait for it.
    redis.call('ZREM', key, member)
    redis.call('ZREM', KEYS[3], entry(take.class, take.mail, take.event, take.endpoint))
    advance(take)
    answers[i] = {}
  elseif due and due <= now then
    local token = text(math.max(now + take.hold, due + 1))
    row.b, row.ba, row.t = row.b + 1, text(now), token
    keep_row(take.event, take.endpoint, row, lifetime_s)
    redis.call('ZADD', key, token, member)
    answers[i] = {token, text(row.b), redis.call('GET', prefix .. 'e:' .. take.event) or ''}
  else
    answers[i] = {}
  end
end
for endpoint in pairs(touched) do refresh(endpoint) end
return answers
