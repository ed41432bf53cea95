-- Reads on in a partition's part of the feed, and changes nothing. KEYS: feed. ARGV: after so many entries, or nothing from
-- the beginning; the stamp of the last of these; how far to go back where that is not known any more; how many at most, or
-- 0 for where it ends.
-- Answers how many entries there were before those found, after which stamp these are, how many more were there once, 1 if
-- the place is not known, and the id and event of each.
local key, after, stamp, back, limit = KEYS[1], tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())
local function id(of)
  return string.format('%d-%d', math.floor(of / 1000), of % 1000)
end
local function stamp_of(entry)
  local ms, us = string.match(entry, '^(%d+)%-(%d+)$')
  return tonumber(ms) * 1000 + tonumber(us)
end
local info = {['entries-added'] = 0, ['length'] = 0, ['last-generated-id'] = '0-0'}
if call('EXISTS', key) == 1 then
  local told = call('XINFO', 'STREAM', key)
  for i = 1, #told, 2 do info[told[i]] = told[i + 1] end
end
if limit == 0 then return {info['entries-added'], text(stamp_of(info['last-generated-id'])), '0', '0'} end
local gone = info['entries-added'] - info['length']
if not after then after, stamp = gone, 0 end
local missed, is_lost = 0, 0
if stamp == 0 or not call('XRANGE', key, id(stamp), id(stamp))[1] then
  -- What is before the first that is kept, or before all that there was, has only been removed.
  local first = call('XRANGE', key, '-', '+', 'COUNT', '1')[1]
  if stamp > stamp_of(first and first[1] or info['last-generated-id']) then
    local before = call('XREVRANGE', key, id(math.max(0, stamp - back)), '-', 'COUNT', '1')[1]
    is_lost, stamp = 1, before and stamp_of(before[1]) or 0
  else
    missed, after = math.max(0, gone - after), math.max(gone, after)
  end
end
local found = call('XRANGE', key, '(' .. id(stamp), '+', 'COUNT', text(limit))
-- Who has read all knows how many there are, however many the store lost.
if #found < limit then after = info['entries-added'] - #found end
local answer = {text(after), text(stamp), text(missed), is_lost}
for _, entry in ipairs(found) do
  table.insert(answer, entry[1])
  local event = ''
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'id' then event = entry[2][i + 1] end
  end
  table.insert(answer, event)
end
return answer
