-- One page of the pending deliveries: the latest of those that began with their events, and of replays, each latest first.
-- KEYS: st:pending, st:replays. ARGV: the score and member that the last page ended
-- with, or two empty texts; how many. Answers member, score and row (empty where nothing was tried) of each.
local from, after, limit = arg(), arg(), tonumber(arg())
local last = from == '' and '+inf' or from
local answers = {}
-- One more, for the one the last page ended with may be among them.
local function read(key, most)
  local found = call('ZREVRANGEBYSCORE', key, last, '-inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
  for i = 1, #found, 2 do
    local member, score = found[i], text(tonumber(found[i + 1]))
    if #answers < most and (score ~= from or is_less(member, after)) then
      local name, endpoint = string.match(member, '^([^|]*)|(.*)$')
      answers[#answers + 1] = {member, score, call('HGET', prefix .. 'p:' .. endpoint, name) or ''}
    end
  end
end
for _, page in ipairs(call('ZREVRANGEBYSCORE', KEYS[1], last, '-inf', 'LIMIT', 0, limit + 2)) do
  read(prefix .. 'i:' .. page, limit)
  if #answers >= limit then break end
end
read(KEYS[2], #answers + limit)
return answers
