// Chromium with every network but loopback shut, and pages that report what goes wrong in them.

import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];
export const WIDE = { width: 1280, height: 900 };
export const NARROW = { width: 380, height: 740 };

export async function launch(executablePath) {
  return chromium.launch({ executablePath, args: ARGUMENTS });
}

export async function openContext(browser, site) {
  const context = await browser.newContext({ viewport: WIDE, colorScheme: "light" });
  context.setDefaultTimeout(60000); // a busy machine is no fault of the page
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: site.origin });
  await context.route(
    (url) => url.protocol.startsWith("http") && url.origin !== site.origin,
    (route) => route.abort(),
  );
  // Runs in every page before its own scripts.
  await context.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener(
      "securitypolicyviolation",
      ({ violatedDirective, blockedURI, sourceFile, sample }) =>
        violations.push(`${violatedDirective}: ${blockedURI} ${sample || sourceFile || ""}`.trim()),
    );
  });
  return context;
}

// Opens a page whose faults go to `add(check, message)`; `requests` collects what it asked for.
export async function openPage(context, site, path, add) {
  const page = await context.newPage();
  const address = site.base + path;
  const requests = [];
  const expected = site.has(site.pathOf(address)) ? 200 : 404;
  const own = (url) => url.replace(site.base, "");
  page.on("console", (message) => {
    const { url } = message.location();
    // Chromium reports an unknown address itself; blocked requests are reported below.
    if (url === address && expected === 404 && /status of 404/.test(message.text())) return;
    if (/ERR_FAILED|violates the following Content Security Policy/.test(message.text())) return;
    if (["error", "warning"].includes(message.type()))
      add("console", `${message.text()} ${own(url)}`);
  });
  page.on("pageerror", (error) => add("console", `error in a script: ${error.message}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (!url.protocol.startsWith("http")) return;
    if (url.origin !== site.origin) add("foreign", `request to another host: ${request.url()}`);
    else requests.push({ url: url.href, type: request.resourceType() });
  });
  page.on("requestfailed", (request) => {
    if (request.url().startsWith(site.origin)) add("requests", `failed: ${own(request.url())}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400 && response.url() !== address)
      add("requests", `status ${response.status()}: ${own(response.url())}`);
  });
  const response = await page.goto(address, { waitUntil: "load" });
  if (response.status() !== expected)
    add("requests", `status ${response.status()}, expected ${expected}`);
  // A colour on its way from light to dark is neither. Playwright's addStyleTag would take whatever
  // the policy blocks meanwhile, as in the pages that a search parses, for its own failure.
  await page.evaluate(() => {
    const still = new CSSStyleSheet();
    still.replaceSync("*, ::before, ::after { transition: none !important; }");
    document.adoptedStyleSheets.push(still);
  });
  await page.evaluate(() => globalThis.MathJax?.startup?.promise);
  return { page, requests };
}

export async function closePage(page, add) {
  await page.waitForLoadState("networkidle"); // what it still reads may break its policy too
  for (const violation of await page.evaluate(() => violations))
    add("policy", `violated, ${violation}`);
  await page.close();
}
