-- One page of a status index, latest first. KEYS: the index. Answers member, score, row and due time of each.
-- ARGV: the score and member that the last page ended with, or two empty texts; how many.
local from, after, limit = arg(), arg(), tonumber(arg())
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
-- How many come before the page: all with a later score, and of those with the same one (any number, for the rows of one
-- event share theirs) all that are not less than the member, which may itself be gone.
local start = 0
if from ~= '' then
  start = redis.call('ZCOUNT', KEYS[1], '(' .. from, '+inf')
  local stop = redis.call('ZCOUNT', KEYS[1], from, '+inf')
  while start < stop do
    local middle = math.floor((start + stop) / 2)
    if less(redis.call('ZREVRANGE', KEYS[1], middle, middle)[1], after) then
      stop = middle
    else
      start = middle + 1
    end
  end
end
local answers = {}
local page = redis.call('ZREVRANGE', KEYS[1], start, start + limit - 1, 'WITHSCORES')
for i = 1, #page, 2 do
  local member = page[i]
  local class, mail, event, endpoint = string.match(member, '^(.)(%x+):([^|]*)|(.*)$')
  local due = redis.call('ZSCORE', lane(class, endpoint), mail .. ':' .. event)
  answers[#answers + 1] = {
    member, text(tonumber(page[i + 1])), text_of(event, endpoint) or '', due and text(tonumber(due)) or '',
  }
end
return answers
