// Material cuts a run of Chinese characters of a query by words that its index does not have here. So the characters are
// asked for one by one, and all of them: each is a term of the index by itself.
window.Worker = class extends window.Worker {
  postMessage(message) {
    const spelled = text => text.replace(/\p{Script=Han}+/gu, run => ` ${[...run].map(each => `+${each}`).join(" ")} `)
    super.postMessage(typeof message.data === "string" ? { ...message, data: spelled(message.data) } : message)
  }
}
