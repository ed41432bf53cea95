-- Leases what is due: moves each due time forward and makes it the token. KEYS: lanes. ARGV: how many lanes, of each
-- endpoint, class, hold, from how many at its head to take what may go, how many others to take, and of these each with when
-- it was seen to be due: what is due at another time by now has another place.
-- Answers for each lane what was taken: entry, when it was due, token, the attempt's number, and the event as it is kept
-- (empty when it has expired).
-- How many are read at a time, and in all, while none is found that may go.
local AT_ONCE, READ_MAX = 100, 5000
local lanes, answers = {}, {}
for i = 1, tonumber(arg()) do
  local endpoint, class = arg(), arg()
  local lane = lane_of(class, endpoint)
  lane.hold, lane.limit, lane.again = tonumber(arg()), tonumber(arg()), {}
  for j = 1, tonumber(arg()) do lane.again[j] = {arg(), arg()} end
  lane.earliest = tonumber(call('ZRANGE', lane.due, '0', '0', 'WITHSCORES')[2] or math.huge)
  lane.rest = call('ZSCORE', KEYS[1], ' ' .. endpoint)
  call('HLEN', lane.rows)
  lanes[i] = lane
end

-- Takes what may go of the first `limit`, and holds back what waits for another of its mail, up to a new head that may go.
-- Notes that head, if there is one.
local function take_fresh(lane)
  local taken, turns, left, read = {}, {}, lane.limit, 0
  while not lane.head and not lane.is_read and read < READ_MAX do
    local len = read == 0 and left + 1 or AT_ONCE
    local found, mails, passed = call('LRANGE', lane.fresh, '0', text(len - 1)), {}, 0
    lane.is_read = #found < len
    if #found == 0 then break end
    for i, entry in ipairs(found) do mails[i] = string.sub(entry, 17, 32) end
    local holders, changed = call('HMGET', lane.busy, unpack(mails)), {}
    for i, entry in ipairs(found) do
      local mail = mails[i]
      local holder = turns[mail] or holders[i]
      if mail == '' then
        -- It was canceled here.
        left, passed = left - 1, passed + 1
      elseif holder then
        call('RPUSH', chain(lane, mail), entry)
        turns[mail] = waited_for(holder)
      elseif left > 0 then
        taken[#taken + 1] = entry
        turns[mail] = string.sub(entry, 33)
      else
        lane.head = entry
        break
      end
      if mail ~= '' then changed[mail], left, passed = true, left - 1, passed + 1 end
    end
    if passed > 0 then call('LPOP', lane.fresh, text(passed)) end
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
local now_text = text(now)
local function begin(lane, entry, due, row)
  local held, token, begun, attempts = math.max(lane.held, tonumber(due) + 1), lane.token, '1', ''
  if held > lane.held then token = text(held) end
  lane.earliest = math.min(lane.earliest, held)
  if row then
    local _, known, _, _, _, kept = row_read(row)
    begun, attempts = text((known or 0) + 1), kept or ''
  end
  local event = string.sub(entry, 33)
  local set, moved, answer = lane.set, lane.moved, lane.answer
  set[#set + 1] = event
  set[#set + 1] = row_of(string.sub(entry, 1, 16), begun, now_text, token, token, attempts)
  moved[#moved + 1] = token
  moved[#moved + 1] = entry
  lane.events[#lane.events + 1] = prefix .. 'e:' .. (lane.class == 'l' and string.match(event, '^[^~]*') or event)
  answer[#answer + 1] = {entry, due, token, begun}
end

-- Puts the lane into the index again. What was begun falls due at the end of its hold or later: with none of those that
-- had begun before, nothing else in its keys has to be asked.
local function index_again(lane)
  if #lane.again > 0 or not (lane.head or lane.is_read) then return refresh(lane.class, lane.endpoint) end
  local earliest = lane.head and tonumber(string.sub(lane.head, 1, 16))
  earliest = math.min(earliest or math.huge, lane.earliest)
  show(lane.class, lane.endpoint, earliest < math.huge and earliest, lane.rest)
end

for i, lane in ipairs(lanes) do
  lane.held = now + lane.hold
  lane.token = text(lane.held)
  lane.set, lane.moved, lane.events, lane.answer = {}, {}, {}, {}
  for _, seen in ipairs(lane.again) do
    local entry, due = seen[1], call('ZSCORE', lane.due, seen[1])
    if due == seen[2] and tonumber(due) <= now then begin(lane, entry, due, call('HGET', lane.rows, string.sub(entry, 33))) end
  end
  for _, entry in ipairs(take_fresh(lane)) do begin(lane, entry, string.sub(entry, 1, 16)) end
  each('HSET', lane.rows, lane.set)
  each('ZADD', lane.due, lane.moved)
  local answer = lane.answer
  for from = 1, #answer, MANY do
    local events = call('MGET', unpack(lane.events, from, math.min(from + MANY - 1, #answer)))
    for j, event in ipairs(events) do answer[from + j - 1][5] = event or '' end
  end
  index_again(lane)
  answers[i] = answer
end
return answers
