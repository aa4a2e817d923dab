// Keeps the deployment that the reader has chosen, over all pages; without storage, as long as the page is open.
const deployment = {
  key: "enginescope-deployment",
  kept() { try { return localStorage.getItem(this.key) } catch { return null } },
  keep(name) { try { localStorage.setItem(this.key, name) } catch { /* a browser without storage for files */ } },
  show(name) {
    document.documentElement.dataset.deployment = name
    for (const choice of document.querySelectorAll("select[data-deployment]")) choice.value = name
  },
}
if (deployment.kept()) deployment.show(deployment.kept())
document.addEventListener("DOMContentLoaded", () => {
  const choices = [...document.querySelectorAll("select[data-deployment]")]
  const known = choices.flatMap(choice => [...choice.options].map(option => option.value))
  if (choices.length) deployment.show(known.includes(deployment.kept()) ? deployment.kept() : known[0])
  for (const choice of choices) choice.addEventListener("change", () => {
    deployment.keep(choice.value)
    deployment.show(choice.value)
  })
})
