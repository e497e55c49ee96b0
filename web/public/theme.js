// Before the first paint: a chosen theme, so that the page does not flash in the other one.
try {
  const theme = localStorage.getItem("hundredweight.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {}
