-- Puts lanes to rest, or ends their rest, and shows what is due in them. KEYS: lanes, rest.
-- Answers for each lane its due members with their scores, the urgent ones first.
local answers = {}
for i = 1, tonumber(arg()) do
  local endpoint, limit, rest = arg(), arg(), arg()
  if rest ~= '' then
    redis.call('HSET', KEYS[2], endpoint, text(now + tonumber(rest)))
    refresh(endpoint)
  elseif redis.call('HDEL', KEYS[2], endpoint) == 1 then
    refresh(endpoint)
  end
  local found = {}
  for place_of, class in ipairs({'h', 'n'}) do
    found[place_of] = limit == '0' and {} or redis.call('ZRANGEBYSCORE', lane(class, endpoint), '-inf', text(now),
      'WITHSCORES', 'LIMIT', 0, limit)
  end
  answers[i] = found
end
return answers
