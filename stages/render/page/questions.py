"""The questions of the paper, which order the report; notebooks declare the question that they answer."""

from markupsafe import Markup

from stages.render.page.notebook_output import put
from stages.render.words import unbroken

# The paper asks them in this order, in its sections 2 to 5.
QUESTIONS = {
    "attention": ("How do self-attentions behave?", "§2"),
    "representations": ("How are representations transformed?", "§3"),
    "components": ("Which components matter?", "§4"),
    "combination": ("Are CL and MIM complementary?", "§5"),
}
FURTHER = "further"  # the section of analyses that answer none of the questions


def ask(question: str, *answers: str) -> None:
    """Show the heading of a question and its answer, above the figures that support the answer.

    question: a key of QUESTIONS, or FURTHER
    """
    put(question_heading(question))
    if text := " ".join(answer for answer in answers if answer):
        put(Markup('<p class="answer">{}</p>').format(unbroken(text)))


def answers(question: str) -> None:
    """Declare in the notebook of an analysis which question it answers; the report puts its figures there.

    question: a key of QUESTIONS
    Raises KeyError if there is no such question.
    """
    text, section = QUESTIONS[question]
    marker = Markup('<p data-question="{}">This analysis belongs to the question: {} (paper {})</p>')
    put(marker.format(question, text, unbroken(section)))


def question_heading(question: str) -> str:
    """Return the heading of a question, marked so that `joining` can put analyses under it."""
    text, section = QUESTIONS.get(question, ("Further analyses", ""))
    place = Markup(' <span class="section">paper {}</span>').format(section) if section else ""
    return Markup('<h2 data-question="{}">{}{}</h2>').format(question, text, place)
