-- A row of what was begun and is pending: when it was made, how often it was begun and when last, when it falls due, the
-- token while it is leased, the attempts. All are texts.
local function row_of(stamp, begun, begun_at, due, token, attempts)
  return stamp .. '|' .. begun .. '|' .. begun_at .. '|' .. due .. '|' .. token .. '|' .. attempts
end
-- The fields of such a row, or nothing when it is none.
local function row_read(row)
  local find, sub = string.find, string.sub
  local one = find(row, '|', 1, true)
  local two = one and find(row, '|', one + 1, true)
  local three = two and find(row, '|', two + 1, true)
  local four = three and find(row, '|', three + 1, true)
  local five = four and find(row, '|', four + 1, true)
  if not five then return end
  local made, begun = sub(row, 1, one - 1), sub(row, one + 1, two - 1)
  if not (tonumber(made) and tonumber(begun)) then return end
  return made, begun, sub(row, two + 1, three - 1), sub(row, three + 1, four - 1), sub(row, four + 1, five - 1),
    sub(row, five + 1)
end
