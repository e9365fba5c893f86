// Before anything is painted: the chosen theme and language, so that neither flashes.
(() => {
  try {
    const chosen = JSON.parse(localStorage.getItem("observer.prefs") ?? "{}");
    if (chosen.theme === "light" || chosen.theme === "dark") {
      document.documentElement.dataset.theme = chosen.theme;
    }
    if (chosen.lang === "ko" || chosen.lang === "en") document.documentElement.lang = chosen.lang;
  } catch {
    // Storage is forbidden or spoilt: the defaults do.
  }
})();
