// What does not add up, of one moment of the page.
(() => {
  const of = (row, label) => parseFloat(row.querySelector(`[data-label="${label}"]`).innerText.replaceAll(",", "")) || 0;
  const rows = [...document.querySelectorAll("#slots tbody tr:not(.generation), #slots tfoot tr:not(:last-child)")];
  const all = document.querySelector("#slots tfoot tr:last-child");
  const cards = {"Req/s": "requests", "In flight": "in_flight", "Memory": "memory"};
  return ["Req/s", "In flight", "CPU", "Memory", "RSS", "Requests"].flatMap((label) => {
    const sum = rows.reduce((sum, row) => sum + of(row, label), 0);
    const wrong = Math.abs(sum - of(all, label)) > 0.051 ? [`${label}: ${sum}, not ${of(all, label)}`] : [];
    const card = cards[label] && parseFloat(document.getElementById(`now-${cards[label]}`).innerText.replaceAll(",", ""));
    return card === undefined || card === of(all, label) ? wrong : [...wrong, `card ${label}: ${card}`];
  });
})()
