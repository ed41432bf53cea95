-- The index of pending deliveries is a list of pages (`st:pending`, by the stamp each begins with), for a page of few is
-- far smaller than its part of one large index. Stamps only grow, so new ones go to the last page.
-- How many pending deliveries one page of their index holds: few enough for Redis to keep it in one piece of memory, and
-- to look through it in no time.
local PAGE_LEN = 32
local function index(added)
  local pages = prefix .. 'st:pending'
  local page = call('ZREVRANGE', pages, '0', '0')[1]
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
-- The page of each stamp, of stamps and members in turn. They are seldom far from each other.
local function pages_of(gone)
  local pages, count = prefix .. 'st:pending', #gone / 2
  local function before(stamp)
    return call('ZREVRANGEBYSCORE', pages, stamp, '-inf', 'LIMIT', '0', '1')[1]
  end
  local first, last = gone[1], gone[1]
  for i = 3, #gone, 2 do
    if gone[i] < first then first = gone[i] elseif gone[i] > last then last = gone[i] end
  end
  local later = first < last and call('ZRANGEBYSCORE', pages, '(' .. first, last, 'LIMIT', '0', text(count)) or {}
  if #later == count then return before end
  local earliest = before(first)
  return function(stamp)
    local page = earliest
    for _, other in ipairs(later) do
      if other > stamp then break end
      page = other
    end
    return page
  end
end
-- Removes ended deliveries from it: stamp, member, stamp, member. A page goes when it is empty, unless new ones are to go
-- there.
local function unindex(gone)
  if #gone == 0 then return end
  local page_of, by_page = pages_of(gone), {}
  for i = 1, #gone, 2 do
    local page = page_of(gone[i])
    if page then
      by_page[page] = by_page[page] or {}
      table.insert(by_page[page], gone[i + 1])
    end
  end
  local pages = prefix .. 'st:pending'
  for page, members in pairs(by_page) do
    local key = prefix .. 'i:' .. page
    each('ZREM', key, members)
    if call('EXISTS', key) == 0 and page ~= call('ZREVRANGE', pages, '0', '0')[1] then call('ZREM', pages, page) end
  end
end
