"""Colours that colour-blind readers tell apart too (Okabe and Ito), for all pictures of the lab."""

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, AMBER, SKY = "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#777777"
