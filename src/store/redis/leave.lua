-- Taking a pending delivery out of its lane.
-- Without the mail and the event, an entry of what was never tried is that of one which was canceled.
local STAMP_LEN = 16
-- Entries are in the order of their stamps: it is found without looking through a lane that may be long.
local function take_out_fresh(lane, entry)
  local low, high, stamp = 0, call('LLEN', lane.fresh) - 1, string.sub(entry, 1, STAMP_LEN)
  while low <= high do
    local middle = math.floor((low + high) / 2)
    local found = call('LINDEX', lane.fresh, text(middle))
    if found == entry then
      call('LSET', lane.fresh, text(middle), stamp)
      return true
    end
    if string.sub(found, 1, STAMP_LEN) < stamp then low = middle + 1 else high = middle - 1 end
  end
  return false
end
-- It is among those that fall due at a time of their own, or was never tried, or waits for another of its mail.
local function take_out(lane, mail, entry)
  if call('ZREM', lane.due, entry) == 0 and not take_out_fresh(lane, entry) then
    call('LREM', chain(lane, mail), '1', entry)
  end
end
-- Where it was its turn, the next of its mail may go.
local function advance(lane, mail, name)
  local holder = call('HGET', lane.busy, mail)
  if holder ~= name and holder ~= name .. '+' then return end
  local key = chain(lane, mail)
  local follower = call('LPOP', key)
  if not follower then
    call('HDEL', lane.busy, mail)
    return
  end
  local event = string.sub(follower, 33)
  call('HSET', lane.busy, mail, call('EXISTS', key) == 1 and waited_for(event) or event)
  call('ZADD', lane.due, text(now), follower)
end
-- Cancels it, but for its place in the indexes: takes it out, and keeps what became of it. Answers when it was made.
local function cancel(lane, mail, name, made, reason, at, lifetime_s)
  local row = call('HGET', lane.rows, name)
  local known, begun, begun_at, attempts, _
  if row then known, begun, begun_at, _, _, attempts = row_read(row) end
  if not known then known, begun, begun_at, attempts = made, '0', '', '' end
  take_out(lane, mail, known .. mail .. name)
  call('HDEL', lane.rows, name)
  advance(lane, mail, name)
  keep(name, lane.endpoint, {'canceled', reason, begun, begun_at, at, attempts}, known, lifetime_s)
  return known
end
