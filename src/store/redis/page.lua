-- One page of a status index, latest first. KEYS: the index. Answers member, score, row and due time of each.
local from, after, limit = arg(), arg(), tonumber(arg())
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
local answers, offset = {}, 0
for _ = 1, 20 do
  local page = redis.call('ZREVRANGEBYSCORE', KEYS[1], from, '-inf', 'WITHSCORES', 'LIMIT', offset, limit)
  for i = 1, #page, 2 do
    local member, score = page[i], page[i + 1]
    if #answers < limit and (after == '' or tonumber(score) < tonumber(from) or less(member, after)) then
      local class, mail, event, endpoint = string.match(member, '^(.)(%x+):([^|]*)|(.*)$')
      local row = text_of(event, endpoint)
      local due = redis.call('ZSCORE', lane(class, endpoint), mail .. ':' .. event)
      answers[#answers + 1] = {member, text(tonumber(score)), row or '', due and text(tonumber(due)) or ''}
    end
  end
  if #answers >= limit or #page < 2 * limit then break end
  offset = offset + limit
end
return answers
