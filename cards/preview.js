"use strict";
// What tests, scripts that take screenshots and people's own styles may rely on:
//   article.card#c1      one image; figure > .stage > img and svg > path.mask[data-object]
//   section.record#r1    one description of it; [data-statuses] lists the statuses of its phrases
//   .phrase[data-status] a phrase (matched, ambiguous, absent, not_an_object); it names [data-objects], or may name
//                        [data-candidates] (object:score)
//   .object[data-object] a row of the list of objects
//   .lit                 what is lit by pointing, focus or a pin, in a card that is then .active
//   #filter, .status[data-status], input[name=masks], #fill   the controls; hidden cards and records have [hidden]
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const LINKS = "[data-objects], [data-candidates], [data-object], .phrase";
  const cards = [...document.querySelectorAll(".card")];
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

  // Deep inside its mask, or above a mask that it would cover.
  const label = (path, score) => {
    let [left, top] = path.dataset.label.split(" ").map(Number);
    const stage = path.closest(".stage").getBoundingClientRect();
    const box = path.getBoundingClientRect();
    if (Math.min(box.width, box.height) < 48)
      top = (100 * (box.top - stage.top > 28 ? box.top - stage.top - 14 : box.bottom - stage.top + 14)) / stage.height;
    const element = document.createElement("span");
    element.className = "label";
    element.textContent = score === "?" ? "no score" : `score ${score}`;
    element.style.cssText =
      `left:clamp(2.75rem,${left}%,100% - 2.75rem);top:clamp(.875rem,${top}%,100% - .875rem);--c:${path.style.getPropertyValue("--c")}`;
    return element;
  };

  const clear = () => {
    if (!active) return;
    const card = active.closest(".card");
    card.classList.remove("active");
    card.querySelectorAll(".lit").forEach((element) => element.classList.remove("lit", "maybe"));
    card.querySelectorAll(".label").forEach((element) => element.remove());
    active = null;
    tip.hidden = true;
  };

  const putOut = (card) => card?.querySelectorAll("#spotlight, .shade").forEach((element) => element.remove());

  const light = (link, point) => {
    const before = active?.closest(".card");
    const card = link.closest(".card");
    clear();
    if (before !== card) putOut(before);
    active = link;
    const objects = objectsOf(link);
    const masks = [...card.querySelectorAll(".mask")].filter((path) => objects.has(path.dataset.object));
    for (const path of masks) {
      const score = objects.get(path.dataset.object);
      path.classList.add("lit");
      path.classList.toggle("maybe", score !== null);
      if (score !== null) path.closest(".stage").append(label(path, score));
    }
    card.querySelectorAll(".object").forEach((row) => row.classList.toggle("lit", objects.has(row.dataset.object)));
    if (link.dataset.object)
      card.querySelectorAll(".phrase").forEach((phrase) =>
        phrase.classList.toggle("lit", objectsOf(phrase).has(link.dataset.object)));
    link.classList.add("lit");
    if (!link.matches(".object")) revealRow(card);
    if (masks.length) {
      card.classList.add("active");
      spotlight(masks[0].ownerSVGElement, masks);
    } else putOut(card);
    showTip(link, point);
  };

  // Scrolls a long list of objects, never the page, to its first lit row.
  const revealRow = (card) => {
    const row = card.querySelector(".object.lit");
    if (!row) return;
    const list = row.closest(".objects");
    const [inner, outer] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
    if (inner.top < outer.top) list.scrollTop += inner.top - outer.top;
    else if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom + 1;
  };

  const dark = () => {
    putOut(active?.closest(".card"));
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
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      if (event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      step(event.key === "ArrowRight" ? 1 : -1);
    } else if (event.key === "/" && !event.target.matches("input[type=search]")) {
      event.preventDefault();
      filter.focus();
    }
  });
  // The card after or before the one that has the focus or, if none has, that is at the top of the window.
  const step = (by) => {
    const there = cards.filter((card) => !card.hidden);
    const focused = there.indexOf(document.activeElement.closest(".card"));
    const atTop = there.findIndex((card) => card.getBoundingClientRect().bottom > innerHeight / 3);
    const next = focused >= 0 ? focused + by : atTop + (by < 0 ? -1 : cards[0].getBoundingClientRect().top > 0 ? 0 : 1);
    const card = there[Math.max(0, Math.min(next, there.length - 1))];
    if (!card) return;
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
  };
  addEventListener("scroll", () => {
    if (active) tip.hidden = true;
  }, { passive: true });

  // Filters: every word must occur in a description, or among the objects of its image; of the pressed statuses one
  // must. Descriptions that do not match are hidden, and the card says how many.
  const filter = document.getElementById("filter");
  const chips = [...document.querySelectorAll(".status")];
  const shown = document.getElementById("shown");
  const lower = (elements) => [...elements].map((element) => element.textContent).join("\n").toLocaleLowerCase();
  const texts = new Map(cards.map((card) => {
    const objects = lower(card.querySelectorAll(".id [id], .object .name"));
    return [card, [...card.querySelectorAll(".record")].map((record) => ({
      record, text: `${record.getAttribute("aria-label").toLocaleLowerCase()}\n${lower([record])}\n${objects}`,
    }))];
  }));
  const apply = () => {
    pin(null);
    dark();
    const words = filter.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const pressed = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.status);
    let images = 0;
    let descriptions = 0;
    let total = 0;
    for (const [card, records] of texts) {
      let count = 0;
      for (const { record, text } of records) {
        const statuses = record.dataset.statuses.split(" ");
        const matches = words.every((word) => text.includes(word))
          && (!pressed.length || pressed.some((status) => statuses.includes(status)));
        record.hidden = !matches;
        count += matches;
      }
      card.hidden = !count;
      const note = card.querySelector(".count");
      if (note) note.textContent = `${count < records.length ? `${count} of ` : ""}${records.length} descriptions`;
      images += count > 0;
      descriptions += count;
      total += records.length;
    }
    shown.textContent = !words.length && !pressed.length ? "" : `${images} of ${cards.length} images`
      + (total > cards.length ? `, ${descriptions} of ${total} descriptions` : "");
    document.getElementById("nothing").hidden = images > 0 || !cards.length;
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
  const fill = document.getElementById("fill");
  const paint = () => document.body.classList.toggle("filled", fill.checked);
  fill.addEventListener("change", paint);
  paint();
  for (const more of document.querySelectorAll(".more"))
    more.addEventListener("click", () =>
      more.setAttribute("aria-expanded", String(more.closest(".card").classList.toggle("every"))));
  apply();
})();
