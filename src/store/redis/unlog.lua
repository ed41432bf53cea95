-- Takes attempts of a row out of the log of their endpoint: all of them, or the one of this number.
local function log_forget(endpoint, row, number)
  local log, gone = log_of(endpoint), {}
  for place, made in string.gmatch(row, '"log":"([^"]*)","number":(%d+)') do
    local entry = (not number or made == number) and call('XRANGE', log.stream, place, place)[1]
    if entry then
      log.bytes = math.max(0, log.bytes - #entry[2][2] - #entry[2][4])
      gone[#gone + 1] = place
    end
  end
  if #gone == 0 then return end
  call('XDEL', log.stream, unpack(gone))
  if call('EXISTS', log.size) == 1 then call('SET', log.size, text(log.bytes) .. '|' .. log.cut, 'KEEPTTL') end
end
