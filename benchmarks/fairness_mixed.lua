-- For wrk: of ten requests seven do nothing, two wait and one computes.
local paths = { "/", "/", "/io", "/", "/", "/cpu", "/", "/io", "/", "/" }
local requests, number = {}, 0

function init()
  for at, path in ipairs(paths) do
    requests[at] = wrk.format("GET", path)
  end
end

function request()
  number = number % #requests + 1
  return requests[number]
end
