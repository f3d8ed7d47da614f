// node docs.mjs URL: opens the API's documentation page in Chromium, tries an operation with the token in
// TOKEN, and prints what it saw as JSON. CHROMIUM is the browser's path; without it, one from npm is unpacked.
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";

const require = createRequire(`${process.env.PACKAGES}/`);
const { default: puppeteer } = await import(require.resolve("puppeteer-core"));
const executablePath = process.env.CHROMIUM || (await unpacked());

async function unpacked() {
  // This makes the package unpack the libraries that a browser needs, too.
  process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
  const { default: chromium } = await import(require.resolve("@sparticuz/chromium"));
  const whole = `${tmpdir()}/.whole`;
  if (!existsSync(whole)) {
    rmSync(tmpdir(), { recursive: true, force: true });
    mkdirSync(tmpdir(), { recursive: true });
    await chromium.executablePath();
    // The package's font configuration looks for fonts in /tmp only.
    const fonts = `${tmpdir()}/fonts`;
    const places = `<dir>${fonts}</dir><cachedir>${fonts}</cachedir>`;
    writeFileSync(`${fonts}/fonts.conf`, `<fontconfig>${places}</fontconfig>`);
    writeFileSync(whole, "");
  }
  return `${tmpdir()}/chromium`;
}

const browser = await puppeteer.launch({
  executablePath,
  headless: "shell",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  const asked = [];
  const complaints = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
  await page.goto(process.argv[2], { waitUntil: "networkidle0" });
  await page.waitForSelector(".opblock");
  const operations = await page.$$eval(".opblock", (blocks) =>
    blocks.map((block) => {
      const text = (name) => block.querySelector(name).textContent.replace(/\u200b/g, "").trim();
      return `${text(".opblock-summary-method").toLowerCase()} ${text(".opblock-summary-path")}`;
    }),
  );
  // Does the same as the page's "Authorize" dialog.
  await page.evaluate((token) => window.ui.preauthorizeApiKey("token", token), process.env.TOKEN);
  const block = "#operations-Accounts-accounts";
  await page.click(`${block} .opblock-summary-control`);
  await (await page.waitForSelector(`${block} .try-out__btn`)).click();
  await (await page.waitForSelector(`${block} .execute`)).click();
  await page.waitForSelector(`${block} .live-responses-table tbody .response-col_status`);
  const seen = (name) => page.$eval(`${block} .live-responses-table tbody ${name}`, (each) => each.textContent);
  console.log(
    JSON.stringify({
      title: await page.title(),
      operations,
      status: await seen(".response-col_status"),
      body: await seen(".response-col_description"),
      asked,
      complaints,
    }),
  );
} finally {
  await browser.close();
}
