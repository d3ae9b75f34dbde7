"""One page about a fit, for paper and phone."""

from bayesglm._report._report import report as report
