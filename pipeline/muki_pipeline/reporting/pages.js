"use strict";
// Texts, labels and names are only ever set as textContent.
const at = name => document.getElementById(name);
const element = (tag, text, parent) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
};
const data = JSON.parse(at("data").textContent);
