-- Tables, closures and strings; prints a sum over all it made.
local scale = tonumber(arg[1]) or 4
local state = 42
local function random(n)
  state = (state * 1103515245 + 12345) % 2147483648
  return state % n
end

local function tree(depth)
  if depth == 0 then return { leaf = random(100) } end
  return { tree(depth - 1), tree(depth - 1), name = "node" .. depth }
end

local function weigh(t)
  return t.leaf or weigh(t[1]) + weigh(t[2]) + #t.name
end

local sum = 0
for _ = 1, scale do
  local words, list = {}, {}
  for i = 1, 60000 do
    local word = string.format("word-%d", random(20000))
    words[word] = (words[word] or 0) + 1
    list[#list + 1] = word .. ":" .. i
  end
  table.sort(list)
  local text = table.concat(list, " ")
  local n = 0
  for key, value in text:gmatch("(%w+%-%d+):(%d+)") do n = n + #key + tonumber(value) % 7 end
  sum = sum + n + #text + weigh(tree(14))
  local calls = {}
  for i = 1, 20000 do calls[i] = function() return i + sum % 3 end end
  for i = 1, #calls, 7 do sum = sum + calls[i]() end
end
print(sum)
