-- Leases what is due: moves each due time forward and makes it the token. KEYS: lanes. ARGV: how many lanes, of each
-- endpoint, class, hold, from how many at its head to take what may go, how many others to take, and these.
-- Answers for each lane what was taken: entry, when it was due, token, the attempt's number, and the event as it is kept
-- (empty when it has expired).
-- How many are read at a time, and in all, while none is found that may go.
local AT_ONCE, READ_MAX = 100, 5000
local lanes, answers = {}, {}
for i = 1, tonumber(arg()) do
  local endpoint, class = arg(), arg()
  local lane = lane_of(class, endpoint)
  lane.hold, lane.limit, lane.again = tonumber(arg()), tonumber(arg()), {}
  for j = 1, tonumber(arg()) do lane.again[j] = arg() end
  call('ZCARD', lane.due)
  call('HLEN', lane.rows)
  lanes[i] = lane
end
call('ZCARD', KEYS[1])

-- Takes what may go of the first `limit`, and holds back what waits for another of its mail, up to a new head that may go.
local function take_fresh(lane)
  local taken, turns, left, read = {}, {}, lane.limit, 0
  local more = left > 0
  while more and read < READ_MAX do
    local found, mails, passed = call('LRANGE', lane.fresh, 0, read == 0 and left or AT_ONCE), {}, 0
    if #found == 0 then break end
    for i, entry in ipairs(found) do mails[i] = string.sub(entry, 17, 32) end
    local holders, changed = call('HMGET', lane.busy, unpack(mails)), {}
    for i, entry in ipairs(found) do
      local mail = mails[i]
      local holder = turns[mail] or holders[i]
      if holder then
        call('RPUSH', chain(lane, mail), entry)
        turns[mail] = waited_for(holder)
      elseif left > 0 then
        taken[#taken + 1] = entry
        turns[mail] = string.sub(entry, 33)
      else
        more = false
        break
      end
      changed[mail], left, passed = true, left - 1, passed + 1
    end
    if passed > 0 then call('LPOP', lane.fresh, passed) end
    read = read + #found
    local marks = {}
    for mail in pairs(changed) do
      marks[#marks + 1] = mail
      marks[#marks + 1] = turns[mail]
    end
    each('HSET', lane.busy, marks)
  end
  return taken
end

-- Begins an attempt. A row that cannot be read must not block its lane: it begins anew.
local function begin(lane, entry, due, row)
  local token = text(math.max(now + lane.hold, due + 1))
  local begun, attempts = 0, ''
  if row then
    local _, known, _, _, _, made = string.match(row, ROW)
    begun, attempts = tonumber(known or 0), made or ''
  end
  local event = string.sub(entry, 33)
  local set, moved, answer = lane.set, lane.moved, lane.answer
  set[#set + 1] = event
  set[#set + 1] = row_of(string.sub(entry, 1, 16), begun + 1, text(now), token, token, attempts)
  moved[#moved + 1] = token
  moved[#moved + 1] = entry
  lane.events[#lane.events + 1] = prefix .. 'e:' .. event
  answer[#answer + 1] = {entry, text(due), token, text(begun + 1)}
end

for i, lane in ipairs(lanes) do
  lane.set, lane.moved, lane.events, lane.answer = {}, {}, {}, {}
  for _, entry in ipairs(lane.again) do
    local due = tonumber(call('ZSCORE', lane.due, entry))
    if due and due <= now then begin(lane, entry, due, call('HGET', lane.rows, string.sub(entry, 33))) end
  end
  for _, entry in ipairs(take_fresh(lane)) do begin(lane, entry, tonumber(string.sub(entry, 1, 16))) end
  each('HSET', lane.rows, lane.set)
  each('ZADD', lane.due, lane.moved)
  local answer = lane.answer
  for from = 1, #answer, MANY do
    local events = call('MGET', unpack(lane.events, from, math.min(from + MANY - 1, #answer)))
    for j, event in ipairs(events) do answer[from + j - 1][5] = event or '' end
  end
  refresh(lane.class, lane.endpoint)
  answers[i] = answer
end
return answers
