// Drives the map of assumptions in Chromium through every choice and prints what it says, as JSON.
//
//   node tests/zoo/drive_map.mjs PAGE.html WIDTH

import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve("tools/site_check.mjs"));
const { chromium } = require("playwright-core");
const [file, width] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"],
});
const page = await browser.newPage({ viewport: { width: +width, height: 740 } });
const faults = [];
page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
page.on("pageerror", (error) => faults.push(error.message));
page.on("request", (request) => request.url().startsWith("http") && faults.push(request.url()));
await page.goto(`file://${resolve(file)}`);
await page.waitForSelector(".gdl-map-menus", { state: "visible" });

// Runs in the page: walks the tree of menus, from the first to the last.
const said = await page.evaluate(() => {
  const root = document.querySelector(".gdl-map"), menus = [...root.querySelectorAll("select")];
  const canvas = root.querySelector("canvas"), found = [];
  const walk = (k) => {
    if (k === menus.length) {
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      found.push([
        menus.map((menu) => menu.selectedOptions[0].textContent),
        root.querySelector(".gdl-map-text").textContent,
        canvas.getAttribute("aria-label"),
        new Set(new Uint32Array(pixels.buffer)).size > 1,
      ]);
      return;
    }
    for (const value of [...menus[k].options].map((option) => option.value)) {
      menus[k].value = value;
      menus[k].dispatchEvent(new Event("change", { bubbles: true }));
      walk(k + 1);
    }
  };
  walk(0);
  return found;
});
await page.locator("select").first().focus();
await page.keyboard.press("ArrowUp");
const keyboard = await page.locator("select").first().evaluate((menu) => menu.selectedOptions[0].textContent);
const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
await browser.close();
console.log(JSON.stringify({ faults, said, keyboard, overflow }));
