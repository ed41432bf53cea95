-- One page of an index of ended deliveries, latest first. KEYS: the index. ARGV: the score and member that the last page
-- ended with, or two empty texts; how many. Answers member, score and row (empty when it has expired) of each.
local from, after, limit = arg(), arg(), tonumber(arg())
-- How many come before the page: all with a later score, and of those with the same one (any number, for a clock may be
-- set back) all that are not less than the member, which may itself be gone.
local start = 0
if from ~= '' then
  start = call('ZCOUNT', KEYS[1], '(' .. from, '+inf')
  local stop = call('ZCOUNT', KEYS[1], from, '+inf')
  while start < stop do
    local middle = math.floor((start + stop) / 2)
    if is_less(call('ZREVRANGE', KEYS[1], middle, middle)[1], after) then
      stop = middle
    else
      start = middle + 1
    end
  end
end
local answers = {}
local page = call('ZREVRANGE', KEYS[1], start, start + limit - 1, 'WITHSCORES')
for i = 1, #page, 2 do
  local key, field = ended_at(string.match(page[i], '^([^|]*)|(.*)$'))
  answers[#answers + 1] = {page[i], text(tonumber(page[i + 1])), call('HGET', key, field) or ''}
end
return answers
