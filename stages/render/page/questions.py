"""The questions of the paper, which the report is ordered by; a notebook says itself which one it answers."""

from markupsafe import Markup

from stages.render.page.notebook_output import put
from stages.render.words import unbroken

# The paper's sections 2 to 5 ask them in this order.
QUESTIONS = {
    "attention": ("How do self-attentions behave?", "§2"),
    "representations": ("How are representations transformed?", "§3"),
    "components": ("Which components matter?", "§4"),
    "combination": ("Do the two combine?", "§5"),
}
FURTHER = "further"  # where analyses stand that answer none of them


def ask(question: str, *answers: str) -> None:
    """Show the heading of a question and its answer in sentences, above the figures that bear it out.

    question: a key of QUESTIONS, or FURTHER
    """
    put(question_heading(question))
    if told := " ".join(answer for answer in answers if answer):
        put(Markup('<p class="answer">{}</p>').format(unbroken(told)))


def answers(question: str) -> None:
    """Say in the notebook of an analysis which question it answers; the report puts its figures there.

    question: a key of QUESTIONS
    Raises KeyError if there is no such question.
    """
    text, section = QUESTIONS[question]
    said = Markup('<p data-question="{}">Part of the question: {} (paper {})</p>')
    put(said.format(question, text, unbroken(section)))


def question_heading(question: str) -> str:
    """The heading of a question, marked so that the analyses which answer it can be put below."""
    text, section = QUESTIONS.get(question, ("Further analyses", ""))
    told = Markup(' <span class="section">paper {}</span>').format(section) if section else ""
    return Markup('<h2 data-question="{}">{}{}</h2>').format(question, text, told)
