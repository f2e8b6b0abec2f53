"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const LINKS = "[data-objects], [data-candidates], [data-object], .phrase";
  const records = [...document.querySelectorAll(".record")];
  const tip = document.getElementById("tip");
  let active = null;
  let pinned = null;

  // Which objects a phrase, question, mask or row stands for; a candidate comes with its score.
  const objectsOf = (link) => {
    if (link.dataset.object) return new Map([[link.dataset.object, null]]);
    if (link.dataset.candidates) return new Map(link.dataset.candidates.split(" ").map((part) => part.split(":")));
    return new Map((link.dataset.objects ?? "").split(" ").filter(Boolean).map((id) => [id, null]));
  };

  const svgElement = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // Darkens the image but for the lit masks, which keep their own light.
  const spotlight = (svg, lit) => {
    const hole = svgElement("mask", { id: "spotlight" });
    hole.append(svgElement("rect", { width: "100%", height: "100%", fill: "#fff" }));
    for (const path of lit) hole.append(svgElement("path", { d: path.getAttribute("d"), "fill-rule": "evenodd" }));
    const standing = svg.querySelector("#spotlight");
    if (standing) return standing.replaceWith(hole);
    const shade = svgElement("rect", { class: "shade", width: "100%", height: "100%", mask: "url(#spotlight)" });
    svg.prepend(hole, shade);
  };

  const label = (path, score) => {
    const [left, top] = path.dataset.label.split(" ");
    const element = document.createElement("span");
    element.className = "label";
    element.textContent = score;
    element.style.cssText =
      `left:clamp(1.5rem,${left}%,100% - 1.5rem);top:clamp(.875rem,${top}%,100% - .875rem);--c:${path.style.getPropertyValue("--c")}`;
    return element;
  };

  const clear = () => {
    if (!active) return;
    const record = active.closest(".record");
    record.classList.remove("active");
    record.querySelectorAll(".lit").forEach((element) => element.classList.remove("lit", "maybe"));
    record.querySelectorAll(".label").forEach((element) => element.remove());
    active = null;
    tip.hidden = true;
  };

  const putOut = (record) => record?.querySelectorAll("#spotlight, .shade").forEach((element) => element.remove());

  const light = (link, point) => {
    const before = active?.closest(".record");
    const record = link.closest(".record");
    clear();
    if (before !== record) putOut(before);
    active = link;
    const objects = objectsOf(link);
    const masks = [...record.querySelectorAll(".mask")].filter((path) => objects.has(path.dataset.object));
    for (const path of masks) {
      const score = objects.get(path.dataset.object);
      path.classList.add("lit");
      path.classList.toggle("maybe", score !== null);
      if (score !== null) path.closest(".stage").append(label(path, score));
    }
    record.querySelectorAll(".object").forEach((row) => row.classList.toggle("lit", objects.has(row.dataset.object)));
    if (link.dataset.object)
      record.querySelectorAll(".phrase").forEach((phrase) =>
        phrase.classList.toggle("lit", objectsOf(phrase).has(link.dataset.object)));
    link.classList.add("lit");
    if (!link.matches(".object")) revealRow(record);
    if (masks.length) {
      record.classList.add("active");
      spotlight(masks[0].ownerSVGElement, masks);
    } else putOut(record);
    showTip(link, point);
  };

  // Scrolls a long list of objects, never the page, to its first lit row.
  const revealRow = (record) => {
    const row = record.querySelector(".object.lit");
    if (!row) return;
    const list = row.closest(".objects");
    const [inner, outer] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
    if (inner.top < outer.top) list.scrollTop += inner.top - outer.top;
    else if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom + 1;
  };

  const dark = () => {
    putOut(active?.closest(".record"));
    clear();
  };

  // Below the text that it speaks of, never over it; beside the pointer on an image.
  const showTip = (link, point) => {
    const source = document.getElementById(link.dataset.tip);
    if (!source) return;
    tip.replaceChildren(...[...source.cloneNode(true).childNodes]);
    tip.hidden = false;
    const box = link.getClientRects()[0] ?? link.getBoundingClientRect();
    const text = link.closest(".description")?.getBoundingClientRect();
    let left = point ? point.x + 16 : box.left;
    let top = point ? point.y + 16 : text && text.bottom - box.bottom < 160 ? text.bottom + 8 : box.bottom + 8;
    if (top + tip.offsetHeight > innerHeight - 8) top = (point ? point.y : box.top) - tip.offsetHeight - 12;
    left = Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.translate = `${Math.max(8, left)}px ${Math.max(8, top)}px`;
  };

  const pin = (link) => {
    pinned?.setAttribute("aria-pressed", "false");
    pinned = link;
    pinned?.setAttribute("aria-pressed", "true");
  };

  const linkAt = (target) => (target instanceof Element ? target.closest(LINKS) : null);
  const pointOn = (link, event) => (link.matches(".mask") ? { x: event.clientX, y: event.clientY } : null);

  document.addEventListener("pointermove", (event) => {
    if (pinned || event.pointerType === "touch") return;
    const link = linkAt(event.target);
    if (link && link === active) {
      if (link.matches(".mask")) showTip(link, pointOn(link, event));
    } else if (link) light(link, pointOn(link, event));
    else if (active && !active.matches(":focus-visible")) dark();
  });
  document.addEventListener("focusin", (event) => {
    const link = linkAt(event.target);
    if (link && link !== pinned && link.matches(":focus-visible")) {
      pin(null);
      light(link);
    }
  });
  document.addEventListener("focusout", () => {
    if (active && active !== pinned) dark();
  });
  document.addEventListener("click", (event) => {
    const link = linkAt(event.target);
    const again = link && link === pinned;
    pin(null);
    if (link && !again) {
      light(link, pointOn(link, event));
      pin(link);
    } else if (!link || again) dark();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      pin(null);
      dark();
    } else if ((event.key === "Enter" || event.key === " ") && event.target.matches("span[role=button]")) {
      event.preventDefault();
      event.target.click();
    } else if (event.key === "/" && !event.target.matches("input[type=search]")) {
      event.preventDefault();
      filter.focus();
    }
  });
  addEventListener("scroll", () => {
    if (active) tip.hidden = true;
  }, { passive: true });

  // Filters: every word must occur; of the pressed statuses one must.
  const filter = document.getElementById("filter");
  const chips = [...document.querySelectorAll(".status")];
  const shown = document.getElementById("shown");
  const texts = records.map((record) =>
    [...record.querySelectorAll(".id span, .description, .object .name")]
      .map((element) => element.textContent).join("\n").toLocaleLowerCase());
  const apply = () => {
    pin(null);
    dark();
    const words = filter.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const pressed = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.status);
    let count = 0;
    records.forEach((record, index) => {
      const statuses = record.dataset.statuses.split(" ");
      const matches = words.every((word) => texts[index].includes(word))
        && (!pressed.length || pressed.some((status) => statuses.includes(status)));
      record.hidden = !matches;
      count += matches;
    });
    shown.textContent = words.length || pressed.length ? `${count} of ${records.length} shown` : "";
    document.getElementById("nothing").hidden = count > 0 || !records.length;
  };
  filter.addEventListener("input", apply);
  for (const chip of chips)
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      apply();
    });
  document.getElementById("reset").addEventListener("click", () => {
    filter.value = "";
    chips.forEach((chip) => chip.setAttribute("aria-pressed", "false"));
    apply();
    filter.focus();
  });
  for (const radio of document.querySelectorAll("input[name=masks]")) {
    const choose = () => {
      if (radio.checked) document.body.dataset.masks = radio.value;
    };
    radio.addEventListener("change", choose);
    choose();
  }
  for (const more of document.querySelectorAll(".more"))
    more.addEventListener("click", () =>
      more.setAttribute("aria-expanded", String(more.closest(".record").classList.toggle("every"))));
  apply();
})();
