// Opens every page of the built site in Chromium, light, dark and 380 px wide, and reports faults.
//
//   npm install --no-package-lock --prefix tools    once
//   node tools/site_check.mjs [--site _build/html] [--shots FOLDER] [--chromium PATH] [PAGE ...]
//
// A fault is: a console error or warning, a failed request, a request to another host, an
// unrendered formula, a page wider than its window, an image without alt text or without pixels, a
// duplicate id, an axe finding that is serious or critical. Exit status 1 when there is one.

import { readFileSync, readdirSync, mkdirSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join, normalize, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    site: { type: "string", default: "_build/html" },
    shots: { type: "string" },
    chromium: { type: "string", default: process.env.CHROMIUM ?? "/usr/bin/chromium" },
  },
});

const MODES = {
  light: { viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  narrow: { viewport: { width: 380, height: 740 }, colorScheme: "light" },
};
const TYPES = {
  ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json",
  ".png": "image/png", ".svg": "image/svg+xml", ".woff": "font/woff", ".woff2": "font/woff2",
};
// Written by the theme: the label of the switch names the action, its text the current mode.
const AXE_EXCLUDED = [".theme-switch-button"];
const AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"];
const AXE_SOURCE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

function serve(root) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const file = normalize(join(root, path.endsWith("/") ? `${path}index.html` : path));
    if (!file.startsWith(root) || !statSync(file, { throwIfNoEntry: false })?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
    response.end(readFileSync(file));
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

function htmlFiles(root, folder = root) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name.startsWith("_") && entry.name !== "_modules" ? [] : htmlFiles(root, path);
    return entry.name.endsWith(".html") ? [relative(root, path)] : [];
  });
}

function pagesOf(root) {
  // The 404 page is served at unknown addresses, so its links start at the site's public address.
  const pages = htmlFiles(root).filter((page) => !["404.html", "index.html", "search.html"].includes(page));
  return [...pages.sort(), "search.html?q=equivariant"];
}

// Runs in the page.
function inspect() {
  const count = new Map();
  for (const { id } of document.querySelectorAll("[id]")) count.set(id, (count.get(id) ?? 0) + 1);
  const images = [...document.querySelectorAll("img")];
  const name = (image) => image.getAttribute("src")?.slice(0, 80);
  const overflow = document.documentElement.scrollWidth - window.innerWidth;
  const wide = overflow <= 0 ? [] : [...document.querySelectorAll(".bd-main *")]
    .filter((element) => element.getBoundingClientRect().right > window.innerWidth + 1)
    .slice(0, 3).map((element) => `${element.tagName}.${element.className}`);
  const rendered = document.querySelectorAll("mjx-container").length;
  const formulas = document.querySelectorAll("span.math, div.math").length;
  return [
    ...[...count].filter(([, n]) => n > 1).map(([id, n]) => `id ${id} occurs ${n} times`),
    ...images.filter((image) => !image.hasAttribute("alt")).map((image) => `no alt: ${name(image)}`),
    ...images.filter((image) => image.closest("article") && !image.alt).map((image) => `empty alt: ${name(image)}`),
    ...images.filter((image) => image.complete && !image.naturalWidth).map((image) => `no pixels: ${name(image)}`),
    ...(overflow > 0 ? [`${overflow} px wider than the window: ${wide.join(", ")}`] : []),
    ...[...document.querySelectorAll("mjx-merror")].map((error) => `formula: ${error.textContent}`),
    ...(rendered < formulas ? [`${formulas - rendered} of ${formulas} formulas not rendered`] : []),
    ...(location.search && !document.querySelector("#search-results li") ? ["the search finds nothing"] : []),
  ];
}

async function accessibility(page) {
  await page.evaluate(AXE_SOURCE);
  const violations = await page.evaluate(
    async ([exclude, rules]) => (await axe.run({ exclude }, { runOnly: rules })).violations,
    [AXE_EXCLUDED, AXE_RULES],
  );
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, impact, nodes }) => {
      const where = nodes.slice(0, 3).map((node) => node.target.join(" ")).join(" | ");
      return `axe ${impact} ${id}, ${nodes.length} times: ${where}: ${nodes[0].failureSummary.replace(/\s+/g, " ")}`;
    });
}

async function faultsOf(browser, base, path, mode) {
  const context = await browser.newContext({ ...MODES[mode], reducedMotion: "reduce" });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
  page.on("requestfailed", (request) => faults.push(`request failed: ${request.url()}`));
  page.on("response", (response) => {
    if (response.status() >= 400) faults.push(`status ${response.status()}: ${response.url()}`);
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith("http") && url.origin !== base) faults.push(`another host: ${request.url()}`);
  });
  await page.goto(`${base}/${path}`, { waitUntil: "load" });
  await page.addStyleTag({ content: "* { transition: none !important; }" });
  await page.evaluate(() => window.MathJax?.startup?.promise);
  if (path.includes("?")) await page.waitForSelector("#search-results li", { timeout: 5000 }).catch(() => {});
  faults.push(...(await page.evaluate(inspect)), ...(await accessibility(page)));
  if (options.shots) {
    const name = path.replace(/\W+/g, "_");
    await page.screenshot({ path: join(options.shots, `${name}-${mode}.png`), fullPage: true });
  }
  await context.close();
  return faults;
}

const root = resolve(options.site);
if (!statSync(join(root, "index.html"), { throwIfNoEntry: false })) {
  console.error(`${root}: no index.html; build the site first (make book)`);
  process.exit(2);
}
if (options.shots) mkdirSync(options.shots, { recursive: true });
const server = await serve(root);
const base = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({
  executablePath: options.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
const pages = positionals.length ? positionals : pagesOf(root);
const places = new Map();
for (const path of pages) {
  for (const mode of Object.keys(MODES)) {
    for (const fault of new Set(await faultsOf(browser, base, path, mode)))
      places.set(fault, [...(places.get(fault) ?? []), `${path} (${mode})`]);
  }
}
await browser.close();
server.close();
for (const [fault, where] of places) {
  const more = where.length > 3 ? ` and ${where.length - 3} more` : "";
  console.log(`${fault}\n    on ${where.slice(0, 3).join(", ")}${more}`);
}
console.log(`${pages.length} pages, ${Object.keys(MODES).length} modes each, ${places.size} different faults`);
process.exit(places.size ? 1 : 0);
