-- Shared by all scripts. ARGV[1] is the prefix of the partition, `{wp:N}:`. Keys that depend on an endpoint, an event
-- or a mail (e:, d:, f:, q:, b:, c:, p:, i:, s:) are derived from it: they share its hash tag, so they are in the slot
-- of KEYS[1]. Times are the server's, in microseconds; a double holds them exactly.
local prefix = ARGV[1]
local place = 1
local function arg()
  place = place + 1
  return ARGV[place]
end
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- How many pending deliveries one page of their index holds: few enough for Redis to keep it in one piece of memory, and
-- to look through it in no time.
local PAGE_LEN = 32
-- How many arguments one command is given at a time.
local MANY = 1000
local function text(number)
  return string.format('%.0f', number)
end
-- A command over any number of arguments, a part at a time.
local function each(name, key, args)
  for from = 1, #args, MANY do call(name, key, unpack(args, from, math.min(from + MANY - 1, #args))) end
end
-- A place in a lane: when the delivery was made (16 digits), its mail (16 digits), its event.
local function entry_of(stamp, mail, event)
  return stamp .. mail .. event
end
local function parts(entry)
  return string.sub(entry, 1, 16), string.sub(entry, 17, 32), string.sub(entry, 33)
end
-- The keys of a lane: what was never tried, what falls due at a time of its own, whose turn it is, chains.
local function lane_of(class, endpoint)
  local tail = class .. ':' .. endpoint
  return {
    class = class, endpoint = endpoint, fresh = prefix .. 'f:' .. tail, due = prefix .. 'q:' .. tail,
    busy = prefix .. 'b:' .. tail, rows = prefix .. 'p:' .. endpoint,
  }
end
local function chain(lane, mail)
  return prefix .. 'c:' .. lane.class .. ':' .. mail .. ':' .. lane.endpoint
end
-- Whose turn it is in a mail is told by the event, with a plus where others wait in its chain.
local function waited_for(holder)
  return string.sub(holder, -1) == '+' and holder or holder .. '+'
end
-- A row of what was begun and is pending: when it was made, how often it was begun and when last, when it falls due, the
-- token while it is leased, the attempts.
local function row_of(stamp, begun, begun_at, due, token, attempts)
  return table.concat({stamp, begun, begun_at, due, token, attempts}, '|')
end
local ROW = '^(%d+)|(%d+)|(%d*)|(%d+)|(%d*)|(.*)$'
-- Brings the index of lanes up to date: the earliest due time of one class of a lane, or the end of the lane's rest if that
-- is later. The end of a rest is kept there too, below zero, under the endpoint's name with a space before it.
local function refresh(class, endpoint)
  local tail, lanes = class .. ':' .. endpoint, prefix .. 'lanes'
  local head = call('LINDEX', prefix .. 'f:' .. tail, 0)
  local earliest = head and tonumber(string.sub(head, 1, 16))
  local due = tonumber(call('ZRANGE', prefix .. 'q:' .. tail, 0, 0, 'WITHSCORES')[2])
  if due and (not earliest or due < earliest) then earliest = due end
  if not earliest then
    call('ZREM', lanes, class .. endpoint)
    return
  end
  local rest = call('ZSCORE', lanes, ' ' .. endpoint)
  rest = rest and -tonumber(rest) or 0
  if rest ~= 0 and rest <= now then call('ZREM', lanes, ' ' .. endpoint) end
  call('ZADD', lanes, text(math.max(earliest, rest)), class .. endpoint)
end
-- The index of pending deliveries is a list of pages (`st:pending`, by the stamp each begins with), for a page of few is
-- far smaller than its part of one large index. Stamps only grow, so new ones go to the last page.
local function index(added)
  local pages = prefix .. 'st:pending'
  local page = call('ZREVRANGE', pages, 0, 0)[1]
  local room = page and PAGE_LEN - call('ZCARD', prefix .. 'i:' .. page) or 0
  local from = 1
  while from <= #added do
    if room <= 0 then
      page, room = added[from], PAGE_LEN
      call('ZADD', pages, page, page)
    end
    local to = math.min(from + 2 * room - 1, #added)
    call('ZADD', prefix .. 'i:' .. page, unpack(added, from, to))
    from, room = to + 1, 0
  end
end
-- Removes ended deliveries from it: stamp, member, stamp, member. A page goes when it is empty, unless new ones are to go
-- there.
local function unindex(gone)
  if #gone == 0 then return end
  local pages = prefix .. 'st:pending'
  local newest, by_page = call('ZREVRANGE', pages, 0, 0)[1], {}
  for i = 1, #gone, 2 do
    local stamp, page = gone[i], newest
    if newest and stamp < newest then page = call('ZREVRANGEBYSCORE', pages, stamp, '-inf', 'LIMIT', 0, 1)[1] end
    if page then
      by_page[page] = by_page[page] or {}
      table.insert(by_page[page], gone[i + 1])
    end
  end
  for page, members in pairs(by_page) do
    local key = prefix .. 'i:' .. page
    each('ZREM', key, members)
    if page ~= newest and call('EXISTS', key) == 0 then call('ZREM', pages, page) end
  end
end
-- Removes some of what is past its lifetime from a status index; more than one call adds.
local function trim(status, lifetime_s)
  local key = prefix .. 'st:' .. status
  local old = call('ZRANGEBYSCORE', key, '-inf', text(now - lifetime_s * 1000000), 'LIMIT', 0, MANY)
  if #old > 0 then call('ZREM', key, unpack(old)) end
end
-- A row of what has ended: status, reason, how often it was begun and when last, when it ended, the attempts. It lives as
-- long as its event, or a whole lifetime from now where that has gone. Answers false if it cannot be written.
local function keep(event, endpoint, row, stamp, lifetime_s)
  local key = prefix .. 'd:' .. event
  local kept = redis.pcall('HSET', key, endpoint, table.concat(row, '|'))
  if type(kept) == 'table' and kept.err then return false end
  local lived = math.floor((now - tonumber(stamp)) / 1000000)
  call('EXPIRE', key, lived < lifetime_s and text(lifetime_s - math.max(lived, 0)) or text(lifetime_s))
  return true
end
-- Whether one text sorts before another as Redis sorts members: by bytes.
local function is_less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
