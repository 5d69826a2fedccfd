"""
Text as a sparse matrix
=======================

A table of word counts is almost all zeros. The estimators read it in CSR form, batch by
batch, and never make it dense, so memory and time depend only on the words that occur.
The texts are the docstrings of SciPy's functions, to be classified by subpackage.
"""

import importlib
import inspect
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from fastmlp import MLPClassifier

plt.style.use("tableau-colorblind10")

topics = [
    "fft",
    "integrate",
    "interpolate",
    "linalg",
    "ndimage",
    "optimize",
    "signal",
    "sparse",
    "special",
    "stats",
]
texts, labels = [], []
for topic in topics:
    module = importlib.import_module(f"scipy.{topic}")
    for name in module.__all__:
        text = inspect.getdoc(getattr(module, name)) or ""
        # The prose alone: no signature, no sections, no subpackage's name.
        while text.startswith(f"{name}("):
            text = text.partition("\n\n")[2].lstrip()
        text = text.partition("\nParameters\n")[0].replace(f"scipy.{topic}", "")
        if len(text) > 50:
            texts.append(text)
            labels.append(topic)
texts_train, texts_test, y_train, y_test = train_test_split(
    texts, labels, test_size=0.3, stratify=labels, random_state=0
)
print(f"{len(texts)} texts")

# %%
# Fit
# ---
#
# ``TfidfVectorizer`` returns a CSR matrix, which is wide if it includes pairs of words.
# The memory of a fit is a few times that of the weights (columns x units), for any
# number of rows. In float32, training is about twice as fast.

vectorizer = TfidfVectorizer(
    token_pattern="[a-z]{3,}", ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32
)
X_train = vectorizer.fit_transform(texts_train)
X_test = vectorizer.transform(texts_test)
n_bytes = X_train.data.nbytes + X_train.indices.nbytes + X_train.indptr.nbytes
dense_bytes = X_train.shape[0] * X_train.shape[1] * 4
share = X_train.nnz / np.prod(X_train.shape)
print(f"{X_train.shape[0]} x {X_train.shape[1]}, {share:.2%} not zero")
print(f"{n_bytes / 1e6:.1f} MB, dense {dense_bytes / 1e6:.0f} MB")

model = MLPClassifier(
    (32,),
    dropout=0.3,
    early_stopping=True,
    scoring="loss",
    learning_rate_init=0.003,
    max_iter=1000,
    random_state=0,
)
tracemalloc.start()
model.fit(X_train, y_train)
peak = tracemalloc.get_traced_memory()[1]
tracemalloc.stop()
print(f"most memory taken by the fit: {peak / 1e6:.0f} MB")
print(f"test accuracy {model.score(X_test, y_test):.3f}")

assert peak < dense_bytes  # there was never room for a dense copy
largest = max(y_test.count(topic) for topic in topics) / len(y_test)
assert model.score(X_test, y_test) > 2 * largest  # than always saying the largest topic
assert np.allclose(
    model.predict_proba(X_test),
    model.predict_proba(X_test.toarray()),
    rtol=1e-4,
    atol=1e-6,
)

# %%
# Its mistakes:

fig, ax = plt.subplots(figsize=(7, 5.5), layout="constrained")
ConfusionMatrixDisplay.from_estimator(
    model,
    X_test,
    y_test,
    ax=ax,
    cmap="Blues",
    colorbar=False,
    xticks_rotation="vertical",
)
plt.show()

# %%
# The most informative words
# --------------------------
#
# A text of one word is a row with a single number; all such texts together are the
# identity matrix, again sparse. For each topic, the words with the highest probability:

one_word_texts = scipy.sparse.eye_array(
    X_train.shape[1], format="csr", dtype=np.float32
)
words = vectorizer.get_feature_names_out()
for topic, scores in zip(
    model.classes_, model.predict_proba(one_word_texts).T, strict=True
):
    print(f"{topic:12}" + ", ".join(words[np.argsort(-scores)[:5]]))

# %%
# From text to label
# ------------------
#
# Together, both fitted steps are a pipeline that takes texts.

pipeline = make_pipeline(vectorizer, model)
questions = [
    "Minimize a function of several variables within bounds",
    "Frequencies at which the filter lets through half of the power",
]
print(pipeline.predict(questions))
