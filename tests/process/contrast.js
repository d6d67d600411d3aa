// Texts whose contrast with what is behind them is below WCAG's AA, 4.5 to 1.
(() => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3).map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return (numbers(colour)[3] ?? 1) === 1 || !element.parentElement ? colour : behind(element.parentElement);
  };
  return [...document.querySelectorAll("body *")].filter((element) => element.offsetHeight &&
    [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())).filter((element) => {
      const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
      return (pair[0] + 0.05) / (pair[1] + 0.05) < 4.5;
    }).map((element) => element.outerHTML.slice(0, 80));
})()
