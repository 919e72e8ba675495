/** The explorer: brings what was given, what is shown and what hands do together. */

import { addressOf, readAddress } from "./address.js";
import { Announcer } from "./announce.js";
import { Explorer } from "./explorer.js";
import { servePieces } from "./pool.js";
import { readDocument, stateFrom } from "./source.js";
import { testFace } from "./testface.js";

/** Start on the document of this page. */
function startExplorer() {
  const doc = readDocument();
  const announcer = new Announcer(/** @type {HTMLElement} */ (document.getElementById("live")));
  const explorer = new Explorer(doc, stateFrom(doc, readAddress(location.hash)), announcer);
  let written = "";
  let timer = 0;
  const write = () => {
    written = `#${addressOf(explorer.state)}`;
    try {
      history.replaceState(null, "", written);
    } catch {
      // A page inside another one may have no address of its own.
    }
  };
  explorer.changed = () => {
    clearTimeout(timer);
    timer = window.setTimeout(write, 250);
  };
  explorer.address = () => {
    write();
    return location.href;
  };
  window.addEventListener("hashchange", () => {
    if (location.hash !== written) explorer.restore(stateFrom(doc, readAddress(location.hash)));
  });
  Object.defineProperty(window, "trainphase", { value: testFace(explorer) });
  explorer.begin();
}

function startPage() {
  try {
    startExplorer();
  } catch (error) {
    const problem = document.getElementById("problem");
    if (problem) {
      problem.hidden = false;
      problem.textContent = error instanceof Error ? error.message : String(error);
    }
    throw error;
  }
}

if (typeof document === "undefined") servePieces();
else startPage();
