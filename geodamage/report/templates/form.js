"use strict";
// The form of a report: buildings one by one, by keys or buttons; the answers leave as a file.
(() => {
  const find = (id) => document.getElementById(id);
  const { sample, key, ids, said, pictures, answers } = JSON.parse(find("form-facts").textContent);
  const body = document.body, reviewer = find("form-reviewer");
  const given = new Map(); // answer and moment by the number of the building
  let at = 0, last = null, is_saved = true;

  // What a browser keeps, so that a closed window costs nothing; some keep nothing for files.
  const remember = () => {
    try {
      localStorage.setItem(`geodamage ${key}`, JSON.stringify({ name: reviewer.value, given: [...given] }));
    } catch { /* then a window that is left with answers asks */ }
  };
  const recall = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(`geodamage ${key}`));
      reviewer.value = kept?.name ?? "";
      for (const [number, answer] of kept?.given ?? []) given.set(number, answer);
    } catch { /* nothing is kept */ }
  };

  const is_open = (number) => !given.has(number);
  const first_open = (from) => {
    const all = ids.map((_, step) => (from + step) % ids.length);
    return all.find(is_open) ?? from % ids.length;
  };
  const show = () => {
    find("form-before").src = pictures[at][0];
    find("form-after").src = pictures[at][1];
    find("form-building").textContent = `${at + 1} of ${ids.length} · ${ids[at]}`;
    find("form-bar").value = given.size;
    find("form-count").textContent = given.size === ids.length
      ? `all ${ids.length} are answered: save the answers` : `${given.size} of ${ids.length} are answered`;
    for (const button of document.querySelectorAll(".answer"))
      button.setAttribute("aria-pressed", String(button.dataset.answer === given.get(at)?.damage));
    // Only of a building that was answered: before, it would lead.
    const told = given.has(at) ? at : last;
    const whose = told === at ? "Here" : "At the last one";
    find("form-said").textContent = told === null ? ""
      : `${whose} you said ${given.get(told).damage}; the model said ${said[told]}.`;
    find("form-export").disabled = given.size === 0;
  };
  const go = (number) => {
    at = (number + ids.length) % ids.length;
    show();
  };
  const answer = (damage) => {
    given.set(at, { damage, at: new Date().toISOString().replace(/\.\d+Z$/, "Z") });
    last = at;
    is_saved = false;
    find("form-saved").textContent = "";
    remember();
    go(given.size === ids.length ? at : first_open(at + 1));
  };
  const save = () => {
    const rows = [...given].sort(([a], [b]) => a - b)
      .map(([number, one]) => ({ building_id: ids[number], damage: one.damage, at: one.at }));
    const text = JSON.stringify({ reviewer: reviewer.value.trim() || null, sample, answers: rows }, null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `${sample}.answers.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    is_saved = true;
    find("form-saved").textContent = `${rows.length} answers are in ${link.download}, among your downloads.`;
  };

  for (const button of document.querySelectorAll(".answer"))
    button.addEventListener("click", () => answer(button.dataset.answer));
  find("form-back").addEventListener("click", () => go(at - 1));
  find("form-next").addEventListener("click", () => go(at + 1));
  find("form-export").addEventListener("click", save);
  reviewer.addEventListener("input", remember);
  find("form-report").addEventListener("click", () => {
    const is_looking = body.classList.toggle("looking");
    find("form-report").textContent = is_looking ? "Show the report" : "Hide the report";
    find("form-report").setAttribute("aria-expanded", String(!is_looking));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !body.classList.contains("looking")) return;
    if (event.target instanceof HTMLInputElement) return;
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (pressed in answers) answer(answers[pressed]);
    else if (pressed === "ArrowRight") go(at + 1);
    else if (pressed === "ArrowLeft" || pressed === "Backspace") go(at - 1);
    else return;
    event.preventDefault();
  });
  addEventListener("beforeunload", (event) => {
    if (!is_saved) event.preventDefault();
  });

  recall();
  body.classList.add("looking");
  go(first_open(0));
})();
